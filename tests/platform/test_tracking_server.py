"""The same record over HTTP, on a real MLflow server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from paceline.platform.errors import RunError
from paceline.platform.tracking import record as tracking_record
from paceline.platform.tracking.store import Store, resolve_uri
from paceline.platform.tracking.writer import MetricWriter


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`mlflow server` on 127.0.0.1, which can be stopped and started again."""

    def __init__(self, folder: Path, database: Path):
        self.folder, self.database, self.port = folder, database, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.database}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with open(self.folder / "server.log", "ab") as log:
            # A session of its own, so that the workers end with it.
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self.uri}/health", timeout=2).ok:
                    return
            except requests.RequestException:
                time.sleep(0.1)
        raise RuntimeError((self.folder / "server.log").read_text())

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    database = folder / "mlflow.db"
    database.write_bytes(migrated_store.read_bytes())
    server = Server(folder, database)
    server.start()
    yield server
    server.stop()


def test_a_server_takes_the_whole_record(server: Server, tmp_path: Path):
    store = Store(resolve_uri(server.uri + "/", tmp_path), "over-http").open()
    parent = store.create_run("sweep-1")
    run_id = store.create_run("trial-1", parent=parent)
    config = {"model": {"class_path": "MLP", "init_args": {f"a{n}": n for n in range(150)}}}
    tracking_record.begin(
        store, run_id, config=config, config_text="x: 1\n", name="t", seed=3, command="paceline"
    )
    writer = MetricWriter(store.uri, run_id)
    for step in range(1200):
        writer.add({"a": step, "nan": float("nan")}, step)
    assert writer.close()
    store.finish(run_id, "failed", error=ValueError("x"))
    run = store.client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert len(run.data.params) == 151
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    files = {file.path for file in store.client.list_artifacts(run_id)}
    assert files == {"config.yaml", "exception.txt"}
    history = store.client.get_metric_history(run_id, "a")
    assert [(p.step, p.value) for p in history] == [(n, n) for n in range(1200)]
    assert len(store.client.get_metric_history(run_id, "nan")) == 1200
    assert store.link(run_id).startswith(f"{server.uri}/#/experiments/")
    assert store.find_run("sweep-1") == parent


def test_a_server_that_goes_away_and_comes_back_has_every_point(server: Server):
    store = Store(server.uri, "outage").open()
    run_id = store.create_run("one")
    writer = MetricWriter(store.uri, run_id, interval_s=0.1)
    writer.add({"a": 0}, 0)
    assert writer.flush()
    server.stop()
    try:
        start = time.perf_counter()
        for step in range(1, 1500):
            writer.add({"a": step}, step)
        assert time.perf_counter() - start < 1.0
        before = [time.time_ns() // 1_000_000]
        with pytest.raises(RunError, match=r"`tracking.uri` must be a store that answers"):
            store.set_tags(run_id, {"a": "b"})
    finally:
        server.start()
    assert writer.flush(timeout_s=60)
    assert writer.close()
    history = store.client.get_metric_history(run_id, "a")
    assert [(p.step, p.value) for p in history] == [(n, n) for n in range(1500)]
    # The points carry the time when they were added, not when they arrived.
    assert max(p.timestamp for p in history) <= before[0]

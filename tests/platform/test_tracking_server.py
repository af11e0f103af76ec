"""The same record over HTTP, on a real MLflow server."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from paceline.platform.errors import RunError
from paceline.platform.tracking import record as tracking_record
from paceline.platform.tracking.store import Store, resolve_uri
from paceline.platform.tracking.writer import MetricWriter
from paceline.tests.platform.tracking.server import Server


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

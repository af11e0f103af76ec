"""The record on a real PostgreSQL, which is restarted while points are written."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from paceline.platform.ports import free_port
from paceline.platform.tracking.delivery import Target, deliver
from paceline.platform.tracking.spool import Write
from paceline.platform.tracking.store import Store
from paceline.platform.tracking.writer import MetricWriter
from paceline.tests.platform.tracking.proxy import Proxy
from paceline.tests.platform.tracking.server import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(shutil.which(name) is None for name in ("initdb", "pg_ctl", "postgres")),
        reason="needs PostgreSQL's initdb, pg_ctl and postgres on the PATH",
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("psycopg") is None,
        reason="needs psycopg: pip install 'paceline[cluster]'",
    ),
]


class PostgreSQL:
    """A cluster of databases in a folder, served on a free port of 127.0.0.1."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.uri = f"postgresql+psycopg://paceline@127.0.0.1:{self.port}/postgres"
        # PostgreSQL refuses to run as root.
        self.user = "postgres" if os.getuid() == 0 else None
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(folder, account.pw_uid, account.pw_gid)
            for parent in list(folder.parents)[:3]:
                parent.chmod(0o755)
        self.call("initdb", "-D", folder / "data", "-U", "paceline", "-A", "trust", "-N")

    def call(self, *command: object) -> None:
        done = subprocess.run(
            [str(word) for word in command],
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def control(self, action: str) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -F"
        begin = ("-o", options, "-l", self.folder / "log") if action != "stop" else ()
        self.call("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", *begin, action)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    database = PostgreSQL(tmp_path_factory.mktemp("postgresql"))
    database.control("start")
    yield database
    database.control("stop")


@pytest.fixture(scope="module")
def server(database: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), database.uri)
    server.start()
    yield server
    server.stop()


def rows(count: int) -> list[list[object]]:
    return [["a", step / 7, 10**12 + step, step] for step in range(count)]


def test_a_batch_sent_twice_and_at_once_is_stored_once(database: PostgreSQL, tmp_path: Path):
    store = Store(database.uri, "twice").open()
    run_id = store.create_run("one")
    target = Target(store.uri, run_id, tmp_path)
    odd = [["nan", float("nan"), 10**12, 0], ["inf", float("inf"), 10**12, 0]]
    write = Write(0, "metrics", {"points": [*rows(900), *odd]})
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(deliver, target, write) for _ in range(8)]:
            done.result()
    history = store.client.get_metric_history(run_id, "a")
    assert [(p.step, p.value, p.timestamp) for p in history] == [
        (step, value, moment) for _, value, moment, step in rows(900)
    ]
    assert len(store.client.get_metric_history(run_id, "nan")) == 1
    assert len(store.client.get_metric_history(run_id, "inf")) == 1


@pytest.mark.parametrize("through", ["server", "directly"])
def test_a_restart_of_the_database_costs_no_point(
    database: PostgreSQL, server: Server, tmp_path: Path, through: str
):
    store = Store(server.uri if through == "server" else database.uri, "restart").open()
    run_id = store.create_run("one")
    writer = MetricWriter(store.uri, run_id, tmp_path, interval_s=0.05)
    longest = 0.0
    for step in range(3000):
        before = time.perf_counter()
        writer.add({"a": step / 7, "b": 1.0}, step)
        longest = max(longest, time.perf_counter() - before)
        if step in (1000, 2000):
            database.control("restart")
        time.sleep(0.001)
    assert longest < 0.5
    deadline = time.monotonic() + 90
    while not writer.flush(timeout_s=30) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert writer.close()
    for name in "ab":
        history = store.client.get_metric_history(run_id, name)
        assert [p.step for p in history] == list(range(3000))
        times = [p.timestamp for p in history]
        assert times == sorted(times)
    assert list(tmp_path.iterdir()) == []


def test_a_lost_answer_of_a_server_on_postgresql_stores_nothing_twice(
    server: Server, tmp_path: Path
):
    proxy = Proxy(server.port)
    store = Store(proxy.uri, "lost").open()
    run_id = store.create_run("one")
    writer = MetricWriter(store.uri, run_id, tmp_path, interval_s=0.05)
    proxy.drops, proxy.drops_only = 3, "runs/log-batch"
    for step in range(1500):
        writer.add({"a": step / 7}, step)
    deadline = time.monotonic() + 60
    while not writer.flush() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert writer.close()
    assert proxy.drops == 0
    history = store.client.get_metric_history(run_id, "a")
    assert [(p.step, p.value) for p in history] == [(n, n / 7) for n in range(1500)]
    proxy.refuse()

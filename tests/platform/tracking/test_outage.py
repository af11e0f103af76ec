"""A run's writes while the server is away, and after: nothing missing, nothing twice.

A real MLflow server stands behind a proxy that refuses, fails, delays, and loses answers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from paceline.platform.errors import RunError, UserError
from paceline.platform.tracking.store import Store
from paceline.platform.tracking.writer import MetricWriter
from paceline.tests.platform.tracking.proxy import Proxy

Point = tuple[int, float, int]  # step, value, time in ms


@pytest.fixture
def away(proxy: Proxy) -> Store:
    """A store that is reached through the proxy."""
    return Store(proxy.uri, "outage").open()


def points(store: Store, run_id: str, name: str = "a") -> list[Point]:
    history = store.client.get_metric_history(run_id, name)
    return [(p.step, p.value, p.timestamp) for p in history]


def add(writer: MetricWriter, steps: range) -> tuple[int, int]:
    """Log a metric at steps, and give the times in ms between which that was."""
    begin = time.time_ns() // 1_000_000
    start = time.perf_counter()
    for step in steps:
        writer.add({"a": step / 7}, step)
    assert time.perf_counter() - start < 1.0, "logging waited"
    return begin, time.time_ns() // 1_000_000


def assert_each_once(found: list[Point], steps: range, between: tuple[int, int]) -> None:
    assert [(step, value) for step, value, _ in found] == [(n, n / 7) for n in steps]
    times = [moment for _, _, moment in found]
    assert times == sorted(times)
    assert between[0] <= times[0]
    assert times[-1] <= between[1]


@pytest.mark.parametrize("trouble", ["refuse", "500", "429", "503", "slow", "lost answers"])
def test_no_point_is_missing_or_twice_after(
    away: Store, proxy: Proxy, tmp_path: Path, trouble: str
):
    run_id = away.create_run("one")
    writer = MetricWriter(away.uri, run_id, tmp_path, interval_s=0.05)
    first, _ = add(writer, range(10))
    assert writer.flush()
    if trouble == "refuse":
        proxy.refuse()
    elif trouble == "slow":
        proxy.delay_s = 3.0
    elif trouble == "lost answers":
        proxy.drops, proxy.drops_only = 3, "runs/log-batch"
    else:
        proxy.status = int(trouble)
    _, last = add(writer, range(10, 1510))
    time.sleep(0.5)
    assert not writer.flush(timeout_s=1.0)
    assert writer.error is not None or trouble == "slow"
    if trouble == "refuse":
        proxy.start()
    if trouble != "lost answers":
        proxy.behave()
    assert writer.flush(timeout_s=30) or writer.flush(timeout_s=30) or writer.flush(timeout_s=30)
    assert writer.close()
    assert_each_once(points(away, run_id), range(1510), (first, last))
    assert list(tmp_path.iterdir()) == []  # nothing waits, so nothing lies there


def test_a_lost_answer_leaves_one_run_and_not_two(away: Store, proxy: Proxy):
    proxy.drops, proxy.drops_only = 1, "runs/create"
    run_id = away.create_run("born once")
    assert sum(request.endswith("runs/create") for request in proxy.requests) == 1
    found = away.client.search_runs([away.experiment_id], "attributes.run_name = 'born once'")
    assert [run.info.run_id for run in found] == [run_id]


def test_all_kinds_of_writes_are_made_once_when_their_answers_are_lost(
    away: Store, proxy: Proxy, tmp_path: Path
):
    run_id = away.create_run("one")
    writer = MetricWriter(away.uri, run_id, tmp_path, interval_s=0.05)
    store = Store(away.uri, writer=writer)
    proxy.drops, proxy.drops_only = 8, "/"
    store.set_params(run_id, {"lr": 0.1})
    store.set_tags(run_id, {"kind": "first"})
    store.set_tags(run_id, {"kind": "second"})
    store.outlet.send_text(run_id, "hello", "notes/hello.txt")
    store.reopen(run_id)
    store.finish(run_id, "finished", stop_reason="completed")
    deadline = time.monotonic() + 60
    while writer.num_pending and time.monotonic() < deadline:
        writer.flush()
    assert writer.close()
    run = away.client.get_run(run_id)
    assert run.data.params == {"lr": "0.1"}
    assert (run.data.tags["kind"], run.info.status) == ("second", "FINISHED")
    assert run.data.tags["attempt"] == "2"
    assert [f.path for f in away.client.list_artifacts(run_id, "notes")] == ["notes/hello.txt"]
    assert proxy.drops == 0


def test_what_the_driver_writes_meanwhile_waits_beside_the_run(
    away: Store, proxy: Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run_id = away.create_run("one")
    driver = Store(away.uri, folder=tmp_path)
    proxy.refuse()
    driver.set_tags(run_id, {"paceline.best_trial": "003"})
    driver.finish(run_id, "failed", error=ValueError("no luck"))
    ended = time.time_ns() // 1_000_000
    assert "waits in" in caplog.text
    proxy.start()
    time.sleep(0.2)
    driver.outlet.drain(tmp_path)
    run = away.client.get_run(run_id)
    assert (run.info.status, run.data.tags["paceline.best_trial"]) == ("FAILED", "003")
    assert run.data.tags["exception"] == "ValueError: no luck"
    assert run.info.end_time <= ended
    assert [file.path for file in away.client.list_artifacts(run_id)] == ["exception.txt"]
    assert list(tmp_path.iterdir()) == []


def test_an_attempt_whose_answer_was_lost_is_counted_once(
    away: Store, proxy: Proxy, tmp_path: Path
):
    run_id = away.create_run("one")
    driver = Store(away.uri, folder=tmp_path)
    proxy.drops, proxy.drops_only = 1, "runs/log-batch"
    driver.reopen(run_id)
    assert proxy.drops == 0
    driver.outlet.drain(tmp_path)
    assert away.client.get_run(run_id).data.tags["attempt"] == "2"
    assert list(tmp_path.iterdir()) == []


def test_a_later_write_never_overtakes_one_that_waits(away: Store, proxy: Proxy, tmp_path: Path):
    run_id = away.create_run("one")
    driver = Store(away.uri, folder=tmp_path)
    proxy.refuse()
    driver.set_tags(run_id, {"state": "old"})
    proxy.start()
    driver.outlet._away_until = 0.0
    driver.set_tags(run_id, {"state": "new"})
    driver.outlet.drain(tmp_path)
    assert away.client.get_run(run_id).data.tags["state"] == "new"


CHILD = """
import sys, time
from pathlib import Path
from paceline.platform.tracking.writer import MetricWriter
uri, run_id, folder = sys.argv[1:]
writer = MetricWriter(uri, run_id, Path(folder), interval_s=0.05)
for step in range(150):
    writer.add({"a": step / 7}, step)
time.sleep(0.5)
print("written", flush=True)
time.sleep(60)
"""


def killed_writer(store: Store, run_id: str, folder: Path) -> tuple[int, int]:
    """A process that logs 150 steps while the server is away and dies by SIGKILL."""
    begin = time.time_ns() // 1_000_000
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, store.uri, run_id, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    end = time.time_ns() // 1_000_000
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return begin, end


def test_points_outlive_sigkill_and_the_next_attempt_writes_no_step_twice(
    away: Store, proxy: Proxy, tmp_path: Path
):
    run_id = away.create_run("one")
    proxy.refuse()
    between = killed_writer(away, run_id, tmp_path)
    # The next attempt goes on from a checkpoint at step 100, before the server is back.
    writer = MetricWriter(away.uri, run_id, tmp_path, interval_s=0.05)
    writer.go_on([])
    _, last = add(writer, range(100, 200))
    time.sleep(0.3)
    proxy.start()
    assert writer.flush() or writer.flush() or writer.flush()
    assert writer.close()
    found = points(away, run_id)
    assert_each_once(found, range(200), (between[0], last))
    assert found[149][2] <= between[1]  # as the killed process logged it
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_fails_at_the_start_is_told_at_once(proxy: Proxy):
    start = time.monotonic()
    proxy.status = 500
    with pytest.raises(UserError, match=r"a server that works \(500\)"):
        Store(proxy.uri, "start").open()
    proxy.refuse()
    with pytest.raises(UserError, match="can be reached"):
        Store(proxy.uri, "start").open()
    proxy.start()
    proxy.status = 429
    with pytest.raises(UserError, match=r"a server that works \(429\)"):
        Store(proxy.uri, "start").open()
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_lets_nobody_in_names_what_to_set_and_no_secret(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, status: int
):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "tok-5ecret")
    proxy.status, proxy.status_only = status, "experiments"
    with pytest.raises(UserError, match=rf"lets us in \({status}\)") as caught:
        Store(proxy.uri, "start").open()
    assert "MLFLOW_TRACKING_TOKEN" in caught.value.remedy
    assert "tok-5ecret" not in str(caught.value)


def test_a_call_of_the_driver_outwaits_a_blink_and_gives_up_within_seconds(
    away: Store, proxy: Proxy
):
    run_id = away.create_run("one")
    proxy.refuse()
    threading.Timer(0.7, proxy.start).start()
    assert away.status(run_id) == "running"
    proxy.status = 429  # with a Retry-After of an hour
    start = time.monotonic()
    with pytest.raises(RunError, match="must be a store that answers"):
        away.status(run_id)
    assert time.monotonic() - start < 20


def test_a_run_that_was_deleted_keeps_its_writes_until_it_is_restored(away: Store, tmp_path: Path):
    run_id = away.create_run("one")
    away.client.delete_run(run_id)
    writer = MetricWriter(away.uri, run_id, tmp_path, interval_s=0.05)
    between = add(writer, range(10))
    assert not writer.close(timeout_s=10)
    away.client.restore_run(run_id)
    Store(away.uri, folder=tmp_path).outlet.drain(tmp_path)
    assert_each_once(points(away, run_id), range(10), between)

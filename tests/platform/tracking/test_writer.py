from __future__ import annotations

import logging
import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from paceline.platform.tracking.store import Store
from paceline.platform.tracking.writer import MetricWriter

LARGEST = 1.7976931348623157e308


def points(store: Store, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(p.step, p.value) for p in store.client.get_metric_history(run_id, name)]


@pytest.fixture
def run_id(store: Store) -> str:
    return store.create_run("one")


@pytest.fixture
def writer(store: Store, run_id: str):
    writer = MetricWriter(store.uri, run_id, interval_s=0.05)
    yield writer
    writer.close()


def test_every_point_reads_back_with_its_step_value_and_time(store, run_id, writer):
    before = time.time_ns() // 1_000_000
    for step in range(2345):
        writer.add({"train/loss": 1 / (step + 1), "lr": step}, step)
    after = time.time_ns() // 1_000_000
    assert writer.close()
    assert points(store, run_id, "train/loss") == [(n, 1 / (n + 1)) for n in range(2345)]
    assert points(store, run_id, "lr") == [(n, n) for n in range(2345)]
    times = [p.timestamp for p in store.client.get_metric_history(run_id, "lr")]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= after
    assert writer.num_written == 4690


def test_adding_takes_the_training_thread_no_time(store, run_id, writer):
    # 0.2 ms a step is promised; the median of many keeps a busy machine's pauses out.
    value = torch.tensor(0.5)
    taken = []
    for step in range(2000):
        start = time.perf_counter()
        writer.add({"a": 1.0, "b": 2, "c": value, "d": value, "e": 0.1}, step)
        taken.append(time.perf_counter() - start)
    assert sorted(taken)[1000] < 0.2e-3


def test_points_arrive_by_themselves_while_training_goes_on(store, run_id, writer):
    writer.add({"a": 1.0}, 0)
    deadline = time.monotonic() + 20
    while not points(store, run_id, "a") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert points(store, run_id, "a") == [(0, 1.0)]


def test_flush_returns_when_everything_added_before_has_arrived(store, run_id):
    writer = MetricWriter(store.uri, run_id, interval_s=3600)
    for step in range(10):
        writer.add({"a": step}, step)
        assert writer.flush()
        assert len(points(store, run_id, "a")) == step + 1
    writer.close()


def test_a_tensor_is_taken_by_value_when_it_is_added(store, run_id, writer):
    total = torch.zeros((), requires_grad=True)
    for step in range(5):
        with torch.no_grad():
            total += 1
        writer.add({"total": total, "one_element": total.view(1)}, step)
    assert writer.close()
    assert points(store, run_id, "total") == [(n, n + 1) for n in range(5)]
    assert points(store, run_id, "one_element") == [(n, n + 1) for n in range(5)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_tensor_on_a_gpu_is_taken_by_value_without_waiting(store, run_id, writer):
    total = torch.zeros((), device="cuda")
    big = torch.randn(8192, 8192, device="cuda")
    torch.cuda.synchronize()
    start = time.perf_counter()
    for step in range(5):
        big = big @ big / 8192
        total += 1
        writer.add({"total": total}, step)
    queued_s = time.perf_counter() - start
    torch.cuda.synchronize()
    assert queued_s < (time.perf_counter() - start) / 2
    assert writer.close()
    assert points(store, run_id, "total") == [(n, n + 1) for n in range(5)]


def test_numbers_that_are_not_finite_read_back_as_mlflow_keeps_them(store, run_id, writer):
    writer.add({"nan": math.nan, "inf": math.inf, "minus_inf": -math.inf, "a": 1.0}, 0)
    writer.add({"nan": torch.tensor(math.nan), "inf": torch.tensor(math.inf)}, 1)
    assert writer.close()
    assert [math.isnan(value) for _, value in points(store, run_id, "nan")] == [True, True]
    assert points(store, run_id, "inf") == [(0, LARGEST), (1, LARGEST)]
    assert points(store, run_id, "minus_inf") == [(0, -LARGEST)]
    assert points(store, run_id, "a") == [(0, 1.0)]


def test_a_value_that_is_no_number_is_told_once_and_leaves_its_neighbours(
    store, run_id, writer, caplog: pytest.LogCaptureFixture
):
    for step in range(3):
        writer.add({"text": "fast", "many": torch.ones(3), "none": None, "good": 1.0}, step)
    assert writer.close()
    assert len(points(store, run_id, "good")) == 3
    assert store.metrics(run_id) == {"good": 1.0}
    assert sorted(record.getMessage() for record in caplog.records) == [
        "Metric 'many' must be a number, but is a Tensor; left out.",
        "Metric 'none' must be a number, but is a NoneType; left out.",
        "Metric 'text' must be a number, but is a str; left out.",
    ]


def test_a_name_that_mlflow_refuses_is_mended_instead_of_lost(store, run_id, writer):
    writer.add({"loss(val)": 1.0, "a//b": 2.0}, 0)
    writer.add({"huge_step": 3.0}, 10**30)
    assert writer.close()
    assert store.metrics(run_id) == {"loss_val_": 1.0, "a/b": 2.0, "huge_step": 3.0}


def test_a_store_that_is_away_costs_training_nothing_and_no_point(
    store, run_id, writer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    writer.add({"a": 0.0}, 0)
    assert writer.flush()
    with locked(tmp_path / "mlflow.db"):
        start = time.perf_counter()
        for step in range(1, 1500):
            writer.add({"a": float(step)}, step)
        assert time.perf_counter() - start < 1.0
        assert not writer.flush(timeout_s=0.5)
        assert writer.num_pending == 1499
    assert writer.flush()
    assert points(store, run_id, "a") == [(n, float(n)) for n in range(1500)]
    assert not [r for r in caplog.records if r.levelno > logging.WARNING]


def test_a_run_that_is_gone_is_told_once_and_close_does_not_hang(
    store, run_id, writer, caplog: pytest.LogCaptureFixture
):
    store.client.delete_run(run_id)
    start = time.monotonic()
    for step in range(3):
        writer.add({"a": 1.0}, step)
        time.sleep(0.1)
    assert not writer.close(timeout_s=5)
    assert time.monotonic() - start < 10
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "must be in the 'active' state" in told[0]
    assert told[1] == f"3 points of run {run_id} were not written."


def test_two_threads_may_add_at_once(store, run_id, writer):
    def add(name: str) -> None:
        for step in range(1500):
            writer.add({name: step}, step)

    threads = [threading.Thread(target=add, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close()
    assert len(points(store, run_id, "a")) == len(points(store, run_id, "b")) == 1500


def test_what_waits_is_sent_when_the_interpreter_ends(store, run_id):
    code = (
        "import sys; from paceline.platform.tracking.writer import MetricWriter;"
        "w = MetricWriter(*sys.argv[1:], interval_s=3600);"
        "[w.add({'a': n}, n) for n in range(500)]; raise SystemExit(3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, store.uri, run_id], capture_output=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (3, b"")
    assert points(store, run_id, "a") == [(n, n) for n in range(500)]


def test_the_thread_has_a_name_and_ends_with_close(writer, run_id):
    name = f"paceline-metrics-{run_id[:8]}"
    assert name in {thread.name for thread in threading.enumerate()}
    assert writer.close()
    assert name not in {thread.name for thread in threading.enumerate()}
    assert writer.close()


class locked:
    """Hold a SQLite file's write lock, as a stuck process would."""

    def __init__(self, path: Path):
        import sqlite3

        self.connection = sqlite3.connect(path)

    def __enter__(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self.connection.rollback()
        self.connection.close()

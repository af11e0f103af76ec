"""Side by side: what logging 5 metrics at every step costs, ours against Lightning's MLFlowLogger.

Three loops train the same small network on the same data with the same seed: `ours` logs with our
writer, `peer` with `pytorch_lightning.loggers.MLFlowLogger`, and a bare one does not log. What a
logger adds is its loop's wall time, final flush included, less that of the bare loop of the same
round, and never less than the time measured inside its own calls: the machine's noise must not
make a logger free. Each loop gets a SQLite store of its own, made ready before the clock starts, on
one file system and with one setting (write-ahead log). Rounds alternate the order. After each loop
every point is read back through MLflow's API.

    python tests/benchmarks/tracking.py [--rounds 3] [--steps 2000]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from paceline.platform.tracking.logger import RunLogger
from paceline.platform.tracking.store import Store, resolve_uri
from paceline.platform.tracking.writer import MetricWriter
from pytorch_lightning.loggers import MLFlowLogger

NAMES = ("train/loss", "train/accuracy", "train/grad_norm", "lr", "train/weight_norm")
Log = Callable[[Mapping[str, float], int], None]


class Times(NamedTuple):
    """Seconds of one loop: all of it, inside the logger's calls, in the final flush."""

    wall: float
    in_log: float
    flush: float


def train(steps: int, log: Log | None) -> tuple[float, float]:
    """Train for some steps of about a millisecond.

    Returns:
        Seconds of wall time, and seconds of it that the training thread spent in `log`.
    """
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    adam = torch.optim.Adam(net.parameters(), fused=True)
    images, labels = torch.randn(64, 784), torch.randint(10, (64,))
    in_log = 0.0
    start = time.perf_counter()
    for step in range(steps):
        adam.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        adam.step()
        if log:
            before = time.perf_counter()
            log({name: step + number / 10 for number, name in enumerate(NAMES)}, step)
            in_log += time.perf_counter() - before
    return time.perf_counter() - start, in_log


def ours(store: Store, run_id: str, steps: int) -> Times:
    """The loop with our logger; the writer is opened and closed within the measured time."""
    start = time.perf_counter()
    writer = MetricWriter(store.uri, run_id)
    _, in_log = train(steps, RunLogger(writer).log_metrics)
    before = time.perf_counter()
    assert writer.close(), "not every point was written"
    end = time.perf_counter()
    return Times(end - start, in_log, end - before)


def peer(store: Store, run_id: str, steps: int) -> Times:
    """The loop with Lightning's logger, which writes at each call and has nothing to flush."""
    logger = MLFlowLogger(tracking_uri=store.uri, run_id=run_id)
    assert logger.experiment, "connected before the clock starts"
    return Times(*train(steps, logger.log_metrics), 0.0)


def check(store: Store, run_id: str, steps: int) -> None:
    """Every point is there: each step once, in order, with its value."""
    for number, name in enumerate(NAMES):
        history = store.client.get_metric_history(run_id, name)
        assert [point.step for point in history] == list(range(steps)), name
        assert [point.value for point in history] == [s + number / 10 for s in range(steps)], name
        times = [point.timestamp for point in history]
        assert times == sorted(times), name


def measure(steps: int, side: Callable[[Store, str, int], Times]) -> Times:
    """One loop on a fresh store."""
    with tempfile.TemporaryDirectory(prefix="paceline-bench-") as home:
        store = Store(resolve_uri(None, Path(home)), "tracking").open()
        run_id = store.create_run(side.__name__)
        times = side(store, run_id, steps)
        check(store, run_id, steps)
    return times


def main() -> None:
    """Run the rounds and print one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    train(200, None)
    added: dict[str, list[float]] = {"ours": [], "peer": []}
    in_log: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(options.rounds):
        bare, _ = train(options.steps, None)
        for side in (ours, peer) if number % 2 == 0 else (peer, ours):
            times = measure(options.steps, side)
            added[side.__name__].append(max(times.wall - bare, times.in_log + times.flush))
            in_log[side.__name__].append(1000 * times.in_log / options.steps)
    ratios = [theirs / mine for theirs, mine in zip(added["peer"], added["ours"], strict=True)]
    line = {
        "benchmark": "tracking",
        "ratio": round(sum(added["peer"]) / sum(added["ours"]), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "rounds": options.rounds,
        "steps": options.steps,
        "metrics_per_step": len(NAMES),
        "added_s": {side: [round(s, 3) for s in values] for side, values in added.items()},
        "training_thread_ms_per_step": {
            side: round(statistics.median(values), 4) for side, values in in_log.items()
        },
        "every_point_reads_back": True,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()

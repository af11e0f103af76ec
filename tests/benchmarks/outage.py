"""Side by side: the time of a training step while the tracking server is dead or frozen, and alive.

One loop trains a small network and logs 5 metrics at every step through our writer to a real
`mlflow server`. In `live` the server answers; in `dead` it was killed, so that connections are
refused; in `frozen` it was stopped by SIGSTOP, so that they are accepted and never answered. What
is compared is the loop's wall time per step. Rounds alternate the order. After each loop the server
comes back, what waits on disk is uploaded, and every point is read back: each step once, with the
time at which it was logged.

    python tests/benchmarks/outage.py [--rounds 5] [--steps 5000]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
import torch
from paceline.platform.tracking.drain import drain
from paceline.platform.tracking.logger import RunLogger
from paceline.platform.tracking.spool_folder import all_spools
from paceline.platform.tracking.store import Store
from paceline.platform.tracking.writer import MetricWriter
from tracking import NAMES, train

MODES = ("live", "dead", "frozen")
MAX_RATIO = 1.10


class Server:
    """`mlflow server` on a SQLite store in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self.uri}/health", timeout=2).ok:
                    return
            except requests.RequestException:
                time.sleep(0.1)
        raise RuntimeError((self.folder / "server.log").read_text())

    def signal(self, number: int) -> None:
        """Send a signal to it and its workers."""
        os.killpg(self.process.pid, number)

    @contextmanager
    def away(self, mode: str) -> Iterator[None]:
        """Be dead, frozen or alive for a while."""
        if mode == "dead":
            self.signal(signal.SIGKILL)
            self.process.wait()
        elif mode == "frozen":
            self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if mode == "dead":
                self.start()
            elif mode == "frozen":
                self.signal(signal.SIGCONT)


def measure(server: Server, mode: str, steps: int, folder: Path) -> float:
    """Milliseconds of a step in one loop, whose points all read back afterwards."""
    store = Store(server.uri, "outage").open()
    run_id = store.create_run(mode)
    begin = time.time_ns() // 1_000_000
    with server.away(mode):
        writer = MetricWriter(store.uri, run_id, folder)
        wall, _ = train(steps, RunLogger(writer).log_metrics)
        end = time.time_ns() // 1_000_000
        writer.close(timeout_s=60.0 if mode == "live" else 1.0)
    told = drain(store.uri, all_spools(folder))
    assert not told.left, told.error
    check(store, run_id, steps, begin, end)
    return 1000 * wall / steps


def check(store: Store, run_id: str, steps: int, begin: int, end: int) -> None:
    """Every point is there once, in order, with its value and the time when it was logged."""
    for number, name in enumerate(NAMES):
        history = store.client.get_metric_history(run_id, name)
        assert [point.step for point in history] == list(range(steps)), name
        assert [point.value for point in history] == [s + number / 10 for s in range(steps)], name
        times = [point.timestamp for point in history]
        assert times == sorted(times), name
        assert begin <= times[0], name
        assert times[-1] <= end, name


def main() -> None:
    """Run the rounds and print one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    train(200, None)
    step_ms: dict[str, list[float]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory(prefix="paceline-bench-") as folder:
        server = Server(Path(folder))
        try:
            for number in range(options.rounds):
                for mode in MODES if number % 2 == 0 else reversed(MODES):
                    run = Path(folder, f"{mode}-{number}")
                    step_ms[mode].append(measure(server, mode, options.steps, run))
        finally:
            server.signal(signal.SIGKILL)
            server.process.wait()
    print(json.dumps(summary(step_ms, options.steps)))


def summary(step_ms: dict[str, list[float]], steps: int) -> dict[str, object]:
    """The JSON line: the medians' ratios to `live`, and the spread over the rounds."""
    median = {mode: statistics.median(values) for mode, values in step_ms.items()}
    line: dict[str, object] = {"benchmark": "outage", "rounds": len(step_ms["live"])}
    for mode in MODES[1:]:
        ratios = [away / live for away, live in zip(step_ms[mode], step_ms["live"], strict=True)]
        line[f"{mode}_ratio"] = round(median[mode] / median["live"], 3)
        line[f"{mode}_spread"] = [round(min(ratios), 3), round(max(ratios), 3)]
    line |= {
        "asked": MAX_RATIO,
        "steps": steps,
        "metrics_per_step": len(NAMES),
        "step_ms": {mode: round(value, 4) for mode, value in median.items()},
        "every_point_reads_back_once": True,
    }
    return line


if __name__ == "__main__":
    main()

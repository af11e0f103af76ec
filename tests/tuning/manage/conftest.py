"""Sweeps on disk as a driver leaves them, and processes that hold them. No torch, no Ray.

The journals are real; the processes are plain Python that takes the kernel's lock on a folder, as
the process that works on it does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from paceline.platform.home import runs_folder, write_state
from paceline.tuning.journal import Journal
from paceline.tuning.rows import Rows

METRIC = "val/loss"
CONFIG = """\
seed_everything: 1
trainer: {max_epochs: 27}
model: {class_path: MLP, init_args: {dropout: 0.2}}
optimizer: {class_path: Adam, init_args: {lr: 0.002}}
sweep:
  metric: val/loss
  mode: min
  trials: 8
  scheduler: asha
  grace: 1
  reduction_factor: 3
  in_order: true
  space:
    learning_rate: {to: [optimizer.init_args.lr], loguniform: [1.0e-4, 1.0e-1]}
    dropout: {to: [model.init_args.dropout], uniform: [0.0, 0.5]}
"""
HOLD = """
import fcntl, os, signal, sys, time
folder, manner = sys.argv[1:]
lock = open(folder + "/lock", "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.truncate(0)
lock.write(str(os.getpid()))
lock.flush()
if manner == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("held", flush=True)
while manner != "polls" or not os.path.exists(folder + "/stop"):
    time.sleep(0.02)
"""


class Story:
    """A sweep's folder, told event by event into a real journal.

    Args:
        folder: Where it stands.
        mode: `min` or `max`.
    """

    def __init__(self, folder: Path, mode: str = "min"):
        folder.mkdir(parents=True)
        self.folder, self.name = folder, folder.name
        (folder / "config.yaml").write_text(CONFIG.replace("mode: min", f"mode: {mode}"))
        self.journal = Journal(folder, Rows(METRIC, mode))
        self.journal.write("sweep", version=2, name=self.name, horizon=27.0, time_axis="epoch")

    @property
    def rows(self) -> Rows:
        return self.journal.rows

    def trial(self, number: int, scores: Sequence[float] = (), end: str = "", **details: Any):
        """A trial with a report for each score; `end` is `STATUS` or `STATUS/STOP_REASON`."""
        values = {"learning_rate": 0.001 * (number + 1), "dropout": 0.1}
        self.journal.write("begin", number, values=values, seed=100 + number, origin="random")
        self.journal.write("run", number, run_id=f"run-{number}")
        self.journal.write("start", number)
        self.report(number, scores)
        if end:
            status, _, reason = end.partition("/")
            self.journal.write("end", number, status=status, stop_reason=reason, **details)

    def report(self, number: int, scores: Sequence[float]) -> None:
        done = self.rows.by_number[number].epoch
        for epoch, score in enumerate(scores, done + 1):
            self.journal.write(
                "report", number, epoch=epoch, step=50 * epoch, metrics={METRIC: score}
            )

    def waiting(self, number: int) -> None:
        """A trial that was suggested and has not begun."""
        self.journal.write("begin", number, values={"learning_rate": 0.1}, seed=1, origin="random")

    def checkpoints(self, *numbers: int, size: int = 1000) -> None:
        """Both checkpoints of trials, with their digests."""
        for number in numbers:
            folder = self.trial_folder(number)
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("best.ckpt", "latest.ckpt"):
                (folder / name).write_bytes(b"x" * size)
                (folder / f"{name}.sha256").write_text("0" * 65)

    def trial_folder(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:03d}"

    def close(self, status: str, **more: Any) -> None:
        """Write the state, and leave the journal."""
        self.keep_state(status, **more)
        self.journal.close()

    def keep_state(self, status: str, **more: Any) -> None:
        """Write the state; the journal stays open."""
        state = {
            "kind": "sweep",
            "name": self.name,
            "run_id": "parent",
            "status": status,
            "metric": METRIC,
            "mode": self.rows.mode,
            "tracking_uri": "sqlite:////nowhere.db",
        }
        write_state(self.folder, state | more)


Tell = Callable[..., Story]


@pytest.fixture
def tell(paceline_home: Path) -> Tell:
    """A new sweep's story, in the home or under another storage."""

    def begin(name: str, storage: Path | None = None, mode: str = "min") -> Story:
        return Story(runs_folder(str(storage) if storage else None) / name, mode)

    return begin


@pytest.fixture
def write_run(paceline_home: Path) -> Callable[..., Path]:
    """A single run's folder with its state."""

    def write(name: str, status: str = "finished", **more: Any) -> Path:
        folder = paceline_home / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(CONFIG)
        state = {"kind": "fit", "name": name, "run_id": "1", "status": status}
        state |= {"tracking_uri": "sqlite:////nowhere.db", "metrics": {}, "seconds": 3.0}
        write_state(folder, state | more)
        return folder

    return write


Hold = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Another process that holds a folder.

    It `polls` for the file `stop` and ends then, `sits` until killed, or is `deaf` to SIGTERM.
    """
    processes: list[subprocess.Popen[str]] = []

    def start(folder: Path, manner: str = "sits") -> subprocess.Popen[str]:
        words = [sys.executable, "-c", HOLD, str(folder), manner]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()

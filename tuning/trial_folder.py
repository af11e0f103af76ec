"""A trial's own folder: its lock and its log."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..platform.errors import RunError

LOG = "log.txt"
TRAIN_FILES = ".train-"  # what Ray Train keeps for the workers of an actor, beside the trials
WAIT_S = 60.0


def names_of(number: int) -> tuple[str, str]:
    """What leads from a sweep's place to a trial's, on a disk and in an object store."""
    return "trials", f"{number:03d}"


def folder_of(sweep: Path, number: int) -> Path:
    """Where a trial keeps its config, its log and its checkpoints."""
    return sweep.joinpath(*names_of(number))


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Be the only process that trains into a folder.

    The process of an earlier attempt may outlive its driver for a moment; two that write the same
    checkpoints and points would mix. The lock is the kernel's and ends with the process.

    Raises:
        RunError: Another process holds the folder and does not end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + WAIT_S
    with (folder / "lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    what = f"{folder} must be free, but another process trains into it."
                    raise RunError(what, str(folder), "end that process") from None
                time.sleep(0.1)
        yield


@contextlib.contextmanager
def logged(folder: Path, attempt: int) -> Iterator[None]:
    """Send all that this process prints and logs into the folder's `log.txt`."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(log, f"--- attempt {attempt}, {stamp}\n".encode())
    saved = {number: os.dup(number) for number in (1, 2)}
    _flush()
    for number in saved:
        os.dup2(log, number)
    os.close(log)
    try:
        yield
    finally:
        _flush()
        for number, old in saved.items():
            os.dup2(old, number)
            os.close(old)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def remove_leftovers(folder: Path) -> None:
    """Remove checkpoints that were being written when the trial failed: they may fill the disk."""
    for path in folder.glob(".*.ckpt.new"):
        with contextlib.suppress(OSError):
            path.unlink()

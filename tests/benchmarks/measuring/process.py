"""One side of a benchmark as a fresh process, in a folder that is its home and holds its store."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PACELINE = str(Path(sys.executable).with_name("paceline"))
PEERS = Path(__file__).parents[1] / "peers"
TIMEOUT_S = 3600

# Ray starts on this machine for each process and asks nobody for a token; BLAS has one thread a
# process, which is what Ray gives a trial of one CPU.
SETTINGS = {
    "RAY_ADDRESS": "local",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}


class Finished(NamedTuple):
    """A process that ended well.

    Args:
        seconds: Wall time from its start to its end, cold start included.
        began: Unix time of its start, in seconds.
        answer: The JSON object that it printed last.
    """

    seconds: float
    began: float
    answer: dict[str, Any]


@contextlib.contextmanager
def fresh_folder() -> Iterator[Path]:
    """An empty folder that is gone afterwards."""
    # Ray's last processes may still write while the folder is being removed.
    with tempfile.TemporaryDirectory(prefix="paceline-bench-", ignore_cleanup_errors=True) as path:
        yield Path(path)


def run(command: Sequence[str], folder: Path, **variables: str) -> Finished:
    """Run a command in a folder, with that folder as its home.

    Args:
        command: The program and its words.
        folder: `$PACELINE_HOME` and the working directory.
        **variables: Environment variables beside ours.

    Raises:
        RuntimeError: It failed, or printed no JSON object.
    """
    environment = {**os.environ, **SETTINGS, "PACELINE_HOME": str(folder), **variables}
    began, start = time.time(), time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    seconds = time.perf_counter() - start
    objects = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not objects:
        output = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{output}")
    return Finished(seconds, began, json.loads(objects[-1]))


def run_peer(script: str, plan: dict[str, Any], folder: Path) -> Finished:
    """Run a script of the folder `peers`, which takes a folder and a plan."""
    return run([sys.executable, str(PEERS / script), str(folder), json.dumps(plan)], folder)


def two_at_a_time() -> list[str]:
    """The words that hold a sweep to two trials at a time; two cores hold it there already."""
    return [] if os.cpu_count() == 2 else ["--sweep.max_concurrent", "2"]

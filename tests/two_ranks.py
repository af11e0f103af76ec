"""A test file run as two processes that exchange tensors: how they meet, and how they leave."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist


def run_two(file: str, folder: Path, *words: str, patience_s: float = 200.0) -> list[str]:
    """Run a file as rank 0 and rank 1, and wait for both.

    Args:
        file: The test's `__file__`; it is called with the folder, the rank and the words.
        folder: Where they meet, and leave what they found.
        words: What else they are told.
        patience_s: Seconds until one that hangs says where, and ends.

    Returns:
        What each wrote to standard output.
    """
    command = [sys.executable, "-W", "ignore", file, str(folder)]
    pipe = subprocess.PIPE
    ranks = [subprocess.Popen([*command, rank, *words], stdout=pipe, text=True) for rank in "01"]
    try:
        told = [process.communicate(timeout=patience_s + 30)[0] for process in ranks]
        assert [process.returncode for process in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    return told


@contextmanager
def one_of_two(folder: str | Path, rank: int, patience_s: float = 200.0) -> Iterator[None]:
    """Be one of the two; the process ends with this, once both have come there.

    They meet in a file, as a port that was free a moment ago may be taken, and leave at once:
    taking torch's groups apart has been seen to hang.
    """
    faulthandler.dump_traceback_later(patience_s, exit=True)
    limit = timedelta(seconds=patience_s)
    dist.init_process_group("gloo", f"file://{folder}/meeting", limit, world_size=2, rank=rank)
    yield
    dist.barrier()
    sys.stdout.flush()
    os._exit(0)

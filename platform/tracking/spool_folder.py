"""The folder that a run's spools lie in: their names and their locks.

RUN_FOLDER/spool/RUN_ID-TIME-PID.jsonl    one process's writes to one run
RUN_FOLDER/spool/files/                   files that they send
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from pathlib import Path

from ..errors import UserError, must

FOLDER, FILES = "spool", "files"


def new_name(run_id: str) -> str:
    """The name of a new spool of this process; names sort by the time that they were made at."""
    return f"{run_id}-{time.time_ns()}-{os.getpid()}.jsonl"


def spools(folder: Path, run_id: str = "") -> list[Path]:
    """The spools in a run's own folder, oldest first.

    Args:
        folder: The run's folder.
        run_id: Only those of this run.
    """
    return sorted((folder / FOLDER).glob(f"{run_id}*.jsonl"), key=_time_of)


def all_spools(folder: Path) -> list[Path]:
    """The spools under a folder of a run or a sweep, those of its trials too, oldest first."""
    return sorted(folder.rglob(f"{FOLDER}/*.jsonl"), key=_time_of)


def _time_of(path: Path) -> str:
    return path.name.rpartition("-")[0].rpartition("-")[2]


def create_spool(path: Path) -> int:
    """Make and lock a file; another process may remove the folder while it seems empty."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, flags, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def lock_spool(path: Path) -> int | None:
    """Open and lock the spool of a process that has ended; None when it lives or is done with it.

    The lock dies with its process, however that ends.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    if os.fstat(file).st_nlink == 0:  # it was finished between the two calls
        os.close(file)
        return None
    return file


def check_safe(path: Path, file: int) -> None:
    """Refuse a spool that another user could have written.

    Args:
        path: The spool, for the message.
        file: Its descriptor.

    Raises:
        UserError: It is another user's, or others can write it.
    """
    found = os.fstat(file)
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        whose = f"mode {stat.filemode(found.st_mode)} of user {found.st_uid}"
        rule = must(path.name, "a file that nobody else can write", whose)
        raise UserError(rule, str(path), f"look at it, then: chmod go-w {path}")


def remove_if_empty(folder: Path) -> None:
    """Remove a spool folder that nobody needs."""
    with contextlib.suppress(OSError):
        if (folder / FILES).exists():
            (folder / FILES).rmdir()
        folder.rmdir()

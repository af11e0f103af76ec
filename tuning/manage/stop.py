"""`paceline stop`: ask the process that works on a name to end in order, and wait until it has.

A sweep is asked by a file in its folder, which its driver looks for at every turn of its loop: that
works from another host on a shared file system too. A single run does not look; it gets SIGTERM,
as Ctrl-C would end it, and only once it is certain that the process is the one that holds the lock:
numbers of processes are used again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...platform.errors import RunError, UserError, must
from ...platform.home import is_held, read_state, write_atomic
from .found import command, find_folder, holder_pid, read_sweep, standing

if TYPE_CHECKING:
    import psutil

STOP = "stop"
POLL_S = 0.1
TELL_S = 5.0  # what is waited for is told again at most this often


def stop(
    name: str,
    storage: str | None = None,
    *,
    timeout_s: float = 60.0,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Have a sweep or a run end in order, and return when it has.

    Args:
        name: A sweep or a run.
        storage: Folder of runs; default under the home.
        timeout_s: Seconds to wait for the end; the request stands when they are over.
        tell: Takes a line that says what is being waited for.

    Raises:
        UserError: No such name, nothing that runs, or a process that must not be signalled.
        RunError: It has not ended in time.
    """
    folder = find_folder(name, storage)
    has_state = (folder / "run.json").exists()  # one that has just begun has none
    state = read_state(name, storage) if has_state else {}
    if not is_held(folder):
        raise _nothing_to_stop(name, storage, state)
    awaited = f"stop: {_awaited(folder, state)}"
    tell(awaited)  # before it is asked: it may end at once
    if state.get("kind") == "sweep":
        _ask(folder)
    else:
        _terminate(folder)
    _wait(folder, state, timeout_s, tell, awaited)
    with contextlib.suppress(OSError):  # else a resume removes it
        (folder / STOP).unlink()


def _ask(folder: Path) -> None:
    try:
        write_atomic(folder / STOP, f"{time.time():.3f}\n")
    except OSError as error:
        rule = must("NAME", "a sweep whose folder you can write", folder.name)
        raise UserError(rule, f"{folder}: {error.strerror}") from None


def _nothing_to_stop(name: str, storage: str | None, state: dict[str, Any]) -> UserError:
    status = standing(str(state.get("status", "damaged")), is_held=False)
    verbs = {"interrupted": "resume", "killed": "resume", "damaged": "status"}
    what = f"`NAME` must be a sweep or a run that runs, but {name} is {status}."
    return UserError(what, "NAME", command(verbs.get(status, "show"), name, storage=storage))


def _wait(
    folder: Path, state: dict[str, Any], timeout_s: float, tell: Callable[[str], None], told: str
) -> None:
    """Until the lock is free; `told` is the line that was told last.

    Raises:
        RunError: It is not in time.
    """
    began = told_at = time.monotonic()
    while is_held(folder):
        now = time.monotonic()
        if now - began > timeout_s:
            raise RunError(
                f"`{folder.name}` must end within {timeout_s:g} s, but {_awaited(folder, state)}.",
                str(folder),
                "it was asked and will end; wait for it: --timeout 600",
            )
        if now - told_at >= TELL_S:
            told_at, line = now, f"stop: {_awaited(folder, state)}"
            if line != told:
                tell(line)
            told = line
        time.sleep(POLL_S)


def _awaited(folder: Path, state: dict[str, Any]) -> str:
    """What is still to end, as a clause."""
    holder = f"process {holder_pid(folder) or '?'} still works on it"
    if state.get("kind") != "sweep":
        return holder
    try:
        rows = read_sweep(folder, state).rows
    except UserError:  # damaged, but its driver lives on
        return holder
    running = [f"{row.trial_id} (epoch {row.epoch})" for row in rows if row.status == "running"]
    shown = ", ".join(running[:8]) + (" ..." if len(running) > 8 else "")
    return f"{holder}; running trials: {shown or 'none, its record is being written'}"


def _terminate(folder: Path) -> None:
    """Send SIGTERM to the process of this host and user that holds a folder's lock.

    Raises:
        UserError: It is another host's or another user's, or cannot be told for certain.
    """
    import psutil

    pid = holder_pid(folder)
    try:
        process = psutil.Process(pid) if pid else None
        if process is not None and _is_mine(process) and _has_open(process, folder / "lock"):
            process.terminate()
            return
    except (psutil.Error, OSError):  # it is gone, or another user's
        pass
    if not is_held(folder):  # it has ended by itself
        return
    raise UserError(
        must("NAME", "a run of a process of this host and user", folder.name),
        f"process {pid or '?'} is named in {folder / 'lock'}, but does not hold it here",
        "end it on the host and as the user that started it",
    )


def _is_mine(process: psutil.Process) -> bool:
    return process.uids().effective == os.geteuid()


def _has_open(process: psutil.Process, path: Path) -> bool:
    return any(os.path.samefile(path, file.path) for file in process.open_files())

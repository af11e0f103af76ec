"""`paceline logs`: the last lines of a trial's log or of the driver's, and those to come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...platform.errors import UserError
from ...platform.home import is_held
from ..driver_log import DRIVER_LOG
from ..journal import JOURNAL
from ..rows import TrialRow
from ..trial_folder import LOG, folder_of
from .found import command, find_folder, find_trial, open_sweep

POLL_S = 0.2
BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Log:
    """A log, and whether more may come.

    Args:
        name: The sweep or run.
        trial_id: The trial; None: the log of the driver.
        path: The file; it need not exist yet while more may come.
        is_over: Asked now and then whether all has been written.
    """

    name: str
    trial_id: str | None
    path: Path
    is_over: Callable[[], bool]


def find_log(name: str, trial: str | None = None, storage: str | None = None) -> Log:
    """The log of a trial, or of the driver of a sweep.

    Args:
        name: The sweep.
        trial: A trial's number, or `best`; None: the driver.
        storage: Folder of runs; default under the home.

    Raises:
        UserError: No such name or trial, or there is no log and none will come.
    """
    if trial is None:
        folder = find_folder(name, storage)  # a driver that failed early left a log and no state
        log = Log(name, None, folder / DRIVER_LOG, lambda: not is_held(folder))
        what, verb = f"{name} has no {DRIVER_LOG}", "show"
    else:
        sweep = open_sweep(name, storage)
        row = find_trial(sweep.rows, trial)
        path = folder_of(sweep.folder, row.number) / LOG
        log = Log(name, row.trial_id, path, _Ending(name, storage, sweep.folder, row))
        what, verb = f"trial {row.trial_id}, which is {row.status}, has no {LOG}", "status"
    if not log.path.exists() and log.is_over():
        what = f"`logs` must be asked for what has written a log, but {what}."
        raise UserError(what, str(log.path), command(verb, name, storage=storage))
    return log


class _Ending:
    """Whether a trial is over; the journal is read again only when it has grown."""

    def __init__(self, name: str, storage: str | None, folder: Path, row: TrialRow):
        self.name, self.storage, self.folder, self.row = name, storage, folder, row
        self._size = -1

    def __call__(self) -> bool:
        if not is_held(self.folder):
            return True
        size = (self.folder / JOURNAL).stat().st_size
        if size != self._size:
            self._size = size
            self.row = open_sweep(self.name, self.storage).rows.by_number[self.row.number]
        return self.row.is_over


def tail(path: Path, count: int, *, whole: bool = False) -> tuple[list[str], int]:
    """The last lines of a file.

    Args:
        path: The file; one that is not there yet has no lines.
        count: How many lines at most.
        whole: Leave out a last line that has no end yet.

    Returns:
        The lines without their ends, and the position behind them.
    """
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        start = end = file.seek(0, os.SEEK_END)
        data = b""
        while start > 0 and data.count(b"\n") <= count:
            size = min(start, BLOCK_BYTES)
            start -= size
            file.seek(start)
            data = file.read(size) + data
    *lines, rest = data.split(b"\n")
    if whole:
        end -= len(rest)
    elif rest:
        lines.append(rest)
    return _decoded(lines[-count:]), end


def follow(
    log: Log, position: int, pause: Callable[[float], None] = time.sleep
) -> Iterator[list[str]]:
    """The lines that come behind a position, until the log is over.

    Args:
        log: The log.
        position: Where to begin, in bytes.
        pause: Waits some seconds between two looks.

    Yields:
        Whole lines; the last may be without its end.
    """
    rest = b""
    while True:
        is_last = log.is_over()  # asked before reading, so that what was written last is read
        data, position = _read_from(log.path, position)
        *lines, rest = (rest + data).split(b"\n")
        if is_last and rest:
            lines.append(rest)
        if lines:
            yield _decoded(lines)
        if is_last:
            return
        pause(POLL_S)


def _read_from(path: Path, position: int) -> tuple[bytes, int]:
    """What stands behind a position; all of it when the file was begun anew."""
    if not path.exists():
        return b"", 0
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) < position:
            position = 0
        file.seek(position)
        data = file.read()
    return data, position + len(data)


def _decoded(lines: list[bytes]) -> list[str]:
    return [line.decode(errors="replace").rstrip("\r") for line in lines]

"""A sweep's journal: events on disk, one line each, written before the thing they announce begins.

    sweep   version, name, seed, space, ...     what the sweep is (the first line)
    begin   number, values, seed, origin        a configuration was suggested
    run     number, run_id                      its MLflow run exists
    start   number                              an actor begins to train it
    report  number, epoch, at, step, metrics    a validation
    diverged number, epoch, step                its training loss is no finite number any more
    verdict number, rung, value, cutoff, ...    what a rule decided; `donor` and `values` of a copy
    pause   number                              it left its place at a rung, to go on from there
    crash   number, error                       its process died, and it goes on elsewhere
    end     number, status, stop_reason, ...    how it ended
    resume  / extend                            a later driver took over; more trials were asked for

Each line carries a checksum over itself and the one before, so that a line which was changed, left
out or put in is found. Only a last line without its end may be torn, by a crash in the middle of a
write: it is left out, and cut off before anything is appended. Nothing is ever unpickled.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..platform.errors import UserError, must
from ..platform.sealed_lines import ChangedLine, open_lines, seal_line
from .rows import Rows, TrialRow

logger = logging.getLogger("paceline.tuning")
JOURNAL = "trials.jsonl"
VERSION = 2
_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Journal:
    """The journal of a sweep that is being driven, and its rows.

    Args:
        folder: The sweep's folder.
        rows: The trials; the events that stand in the file already are folded in.

    Raises:
        UserError: What stands there was edited, or others can write it.
    """

    def __init__(self, folder: Path, rows: Rows):
        self.rows = rows
        self.path = folder / JOURNAL
        self._sum, length = "", 0
        if self.path.exists():
            check_safe(folder)
            for event, length in _lines(self.path):  # noqa: B007 - the last length is used below
                rows.apply(event)
                self._sum = event["sum"]
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(self._file, length)  # a torn line would swallow the next one
        self._length = length
        self._waiting: list[bytes] = []

    def write(self, event: str, number: int | None = None, **details: Any) -> TrialRow | None:
        """Append an event, on disk before anyone acts on it, and fold it in.

        Returns:
            The trial's row.
        """
        self.write_all([(event, {} if number is None else {"number": number}, details)])
        return None if number is None else self.rows.by_number[number]

    def write_all(self, events: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> None:
        """Append several events, each `(kind, head, details)`, in one write."""
        moment = round(time.time(), 3)
        for kind, head, details in events:
            record = {"event": kind, **head, "time": moment, **details}
            line, self._sum = seal_line(record, self._sum)
            self._waiting.append(line)
            self.rows.apply(json.loads(line))
        self._flush()

    def _flush(self) -> None:
        """Write what waits. A full disk keeps it waiting: a trial may free what it took."""
        data = b"".join(self._waiting)
        try:
            written = os.pwrite(self._file, data, self._length)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if error.errno not in _ROOM:
                raise
            os.ftruncate(self._file, self._length)
            logger.warning("The journal waits for room on the disk: %s", self.path)
            return
        self._length += len(data)
        self._waiting.clear()

    def close(self) -> None:
        """Write what waits and close the journal."""
        if self._waiting:
            self._flush()
        os.close(self._file)


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Each event, and the length of the file up to its end.

    Raises:
        UserError: A line does not match its checksum; a torn last one is left out instead.
    """
    try:
        for event, _, end in open_lines(path):
            yield event, end
    except ChangedLine as error:
        raise _broken(path, error.number) from None


def _broken(path: Path, number: int) -> UserError:
    return UserError(
        f"`{JOURNAL}` must be as it was written, but line {number} or the one before was changed.",
        f"{path}:{number}",
        "put a copy of the file back; a new sweep takes over what is known by --like NAME",
    )


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The events of a journal; empty when there is none.

    Raises:
        UserError: A line was changed.
    """
    path = folder / JOURNAL
    return [event for event, _ in _lines(path)] if path.exists() else []


def read_rows(folder: Path, metric: str, mode: str) -> Rows:
    """The trials of a sweep from its journal."""
    rows = Rows(metric, mode)
    for event in read_events(folder):
        rows.apply(event)
    return rows


def check_safe(folder: Path) -> None:
    """Refuse to act on a sweep whose files another user could have written.

    Raises:
        UserError: The folder, its journal or its config is another user's or can be written by
            others, or the folder lies where others can exchange it.
    """
    for path in (folder, folder / JOURNAL, folder / "config.yaml"):
        if not path.exists():
            continue
        found = path.stat()
        if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _unsafe(path, found)
    above = folder.parent.stat()
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        raise _unsafe(folder.parent, above)


def _unsafe(path: Path, found: os.stat_result) -> UserError:
    whose = f"mode {stat.filemode(found.st_mode)} of user {found.st_uid}"
    rule = "a file or folder that nobody else can write"
    return UserError(must(str(path), rule, whose), str(path), f"chmod go-w {path}")

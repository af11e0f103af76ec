"""A run's writes on their way to the store, on disk: neither an outage nor a kill loses one.

Each process that writes into a run has one file for it, `spool/RUN_ID-TIME-PID.jsonl` in the run's
folder. A write is appended before it is sent, and a line says when it has arrived:

    run_id, version                 the first line
    n, op, ...                      a write: metrics, params, tags, artifact, end, ... (`delivery`)
    done: [n, ...]                  these have arrived

The lines are sealed (`sealed_lines`), hold JSON alone and no secret. Files that a write sends lie
in `spool/files/` until then. The kernel's lock on the file says whether its process lives; a file
whose writes have all arrived is deleted. In memory stay the places of what waits and the contents
of the first few, so an outage of hours takes disk, not memory.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from ..sealed_lines import ChangedLine, open_lines, seal_line
from .spool_folder import (
    FILES,
    FOLDER,
    check_safe,
    create_spool,
    lock_spool,
    new_name,
    remove_if_empty,
)

logger = logging.getLogger("paceline.tracking")

VERSION = 1
# Files take longer, and their store may be another one: metrics do not wait for them. The curves
# are drawn from the metrics, so they come behind them.
LATE = frozenset({"artifact", "curves", "model"})
OPS = frozenset({"metrics", "params", "tags", "inputs", "reopen", "end"}) | LATE

_MAX_CACHED = 32  # writes kept in memory besides the disk: up to 32,000 points
_MAX_HELD = 512  # writes kept in memory while the disk is full
_AT_ONCE = 1 << 16  # bytes read for one call: about a thousand points
_LONG = 1 << 20  # bytes of writes that have arrived, after which the file begins anew


class Write(NamedTuple):
    """One write of a run.

    Args:
        number: Its number in the spool.
        op: What it is, one of `OPS`.
        content: What `delivery` needs to know of it.
    """

    number: int
    op: str
    content: dict[str, Any]


class _Place(NamedTuple):
    """Where a write stands in the file: its number, its line in bytes, and how much it is."""

    number: int
    begin: int
    length: int
    size: int


class Spool:
    """The writes of one process to one run.

    Args:
        folder: The run's folder; None: a passing file that does not outlive the process.
        run_id: The run.

    Attributes:
        num_lost: How much found room neither on the disk nor in memory, counted as `num_waiting`.
    """

    def __init__(self, folder: Path | None, run_id: str):
        self.run_id = run_id
        self.folder = folder / FOLDER if folder else None
        self.path: Path | None = None
        self.num_lost = 0
        self._lock = threading.RLock()
        self._lanes: dict[bool, deque[_Place]] = {False: deque(), True: deque()}
        self._cache: dict[int, Write] = {}
        self._held: set[int] = set()  # in memory alone, because the disk is full
        self._file: int | None = None
        self._passing: Path | None = None  # the folder of files where the run has none
        self._sum, self._length, self._next = "", 0, 0

    @classmethod
    def take_up(cls, path: Path) -> Spool | None:
        """The spool of a process that has ended.

        Returns:
            The spool; None when its process lives or has just finished it.

        Raises:
            UserError: A line was changed, or is none that we write, or others can write the file.
        """
        if (file := lock_spool(path)) is None:
            return None
        spool = cls(path.parent.parent, "")
        spool.path, spool._file = path, file
        try:
            check_safe(path, file)
            spool._read(path)
        except BaseException:
            os.close(file)
            raise
        return spool

    def _read(self, path: Path) -> None:
        waiting: dict[int, tuple[bool, _Place]] = {}
        line = 0
        try:
            for line, (record, begin, end) in enumerate(open_lines(path), 1):
                if line == 1:
                    self.run_id = _run_id(record)
                elif isinstance(done := record.get("done"), list):
                    for number in done:
                        waiting.pop(number, None)
                elif record.get("op") in OPS and type(record.get("n")) is int:
                    place = _Place(record["n"], begin, end - begin, _size(record))
                    waiting[place.number] = (record["op"] in LATE, place)
                else:
                    raise ChangedLine(path, line)
                self._sum, self._length = record["sum"], end
        except (ChangedLine, ValueError) as error:
            raise _changed(path, getattr(error, "number", max(1, line))) from None
        for late, place in waiting.values():
            self._lanes[late].append(place)
            self._next = place.number + 1
        assert self._file is not None
        os.ftruncate(self._file, self._length)  # a torn line would swallow the next one

    @property
    def files(self) -> Path:
        """The folder of the files that writes send; `make_files` makes it."""
        return self._passing or (self.folder / FILES if self.folder else Path(os.devnull))

    def make_files(self) -> Path:
        """Make the folder of the files that writes send."""
        with self._lock:
            if self.folder is None and self._passing is None:
                self._passing = Path(tempfile.mkdtemp(prefix="paceline-"))
            if self.folder is not None:
                self.files.mkdir(parents=True, exist_ok=True)
        return self.files

    def append(self, op: str, content: dict[str, Any]) -> None:
        """Take a write; it is on disk when this returns, unless the disk is full.

        Args:
            op: One of `OPS`.
            content: JSON values without secrets.
        """
        assert op in OPS, op
        with self._lock:
            number, self._next = self._next, self._next + 1
            place = self._put({"n": number, "op": op, **content})
            if place is None:
                if len(self._held) >= _MAX_HELD:
                    self.num_lost += _size(content)
                    return
                self._held.add(number)
            if place is None or len(self._cache) < _MAX_CACHED:
                self._cache[number] = Write(number, op, content)
            self._lanes[op in LATE].append(_Place(number, *(place or (0, 0)), _size(content)))

    def first(self, late: bool) -> list[Write]:
        """The writes that have waited longest in one of the two lanes.

        Args:
            late: Whether files are asked for, or all else.

        Returns:
            None, one, or as many as make about a thousand points.
        """
        with self._lock:
            writes: list[Write] = []
            read = 0
            for place in self._lanes[late]:
                writes.append(self._get(place))
                if (read := read + place.length) >= _AT_ONCE:
                    break
            return writes

    def cached(self) -> list[Write]:
        """The writes that wait and are in memory, oldest first."""
        with self._lock:
            return list(self._cache.values())

    def done(self, writes: Iterable[Write]) -> None:
        """These have arrived, or were refused for good; they are what `first` gave."""
        with self._lock:
            numbers = {write.number for write in writes}
            self._cache = {n: write for n, write in self._cache.items() if n not in numbers}
            for lane in self._lanes.values():
                while lane and lane[0].number in numbers:
                    lane.popleft()
            self._put({"done": sorted(numbers - self._held)})
            self._held -= numbers
            if not self.num_waiting and self._length > _LONG:
                self._sum, self._length = "", 0
                os.ftruncate(self._open(), 0)

    @property
    def num_waiting(self) -> int:
        """How much has not arrived: points, and other writes as one each."""
        with self._lock:
            return sum(place.size for lane in self._lanes.values() for place in lane)

    def close(self) -> None:
        """Let go of the file; it is deleted when nothing waits in it."""
        with self._lock:
            if self._file is not None:
                if self.path is not None and not self.num_waiting:
                    self.path.unlink(missing_ok=True)
                os.close(self._file)
                self._file = None
            if self._passing is not None:
                shutil.rmtree(self._passing, ignore_errors=True)
            if self.folder is not None:
                remove_if_empty(self.folder)

    def _open(self) -> int:
        """The file's descriptor; the file is made at the first write."""
        if self._file is None:
            if self.folder is None:
                with tempfile.TemporaryFile() as file:
                    self._file = os.dup(file.fileno())
                return self._file
            self.path = self.folder / new_name(self.run_id)
            self._file = create_spool(self.path)
        return self._file

    def _put(self, record: dict[str, Any]) -> tuple[int, int] | None:
        """Append a line; where it stands and its length, or None when there is no room for it."""
        try:
            file = self._open()
            if self._length == 0:
                self._write(file, {"run_id": self.run_id, "version": VERSION})
            begin = self._length
            self._write(file, record)
        except OSError as error:
            if not self._held:
                logger.warning("The run's writes stay in memory: %s (%s)", error, self.folder)
            with contextlib.suppress(OSError):
                if self._file is not None:
                    os.ftruncate(self._file, self._length)
            return None
        return begin, self._length - begin

    def _write(self, file: int, record: dict[str, Any]) -> None:
        line, seal = seal_line(record, self._sum)
        written = 0
        while written < len(line):
            written += os.pwrite(file, line[written:], self._length + written)
        self._sum, self._length = seal, self._length + len(line)

    def _get(self, place: _Place) -> Write:
        if (write := self._cache.get(place.number)) is not None:
            return write
        # This process wrote the line, or has checked its seal.
        record = json.loads(os.pread(self._open(), place.length, place.begin))
        content = {key: value for key, value in record.items() if key not in ("n", "op", "sum")}
        return Write(place.number, record["op"], content)


def _size(content: dict[str, Any]) -> int:
    points = content.get("points")
    return len(points) if isinstance(points, list) else 1


def _run_id(record: dict[str, Any]) -> str:
    if record.get("version") != VERSION or not isinstance(record.get("run_id"), str):
        raise ValueError("not the first line of a spool of this version")
    return record["run_id"]


def _changed(path: Path, number: int) -> UserError:
    return UserError(
        f"`{path.name}` must be as it was written, but line {number} or the one before it was not.",
        f"{path}:{number}",
        "put a copy of the file back, or delete it to give up what waits in it",
    )

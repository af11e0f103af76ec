"""Brings the checkpoints of a folder into an object store, beside the training.

The training offers what it has saved and goes on at once. A file that is offered is opened, so it
stays what it is when the next one takes its name; a newer one takes the place of one that still
waits. A store that fails is tried again, less and less often, for as long as the run lasts: what it
misses of a long outage are checkpoints that newer ones have replaced.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from ..training.checkpoint_file import digest
from ..training.checkpoint_names import BEST, LATEST, digest_file
from .checkpoint_objects import CheckpointObjects, Pointer
from .object_store import told

logger = logging.getLogger("paceline.storage")

PATIENCE_S = 60.0  # without a byte for so long, the end of a run waits no more
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LAST_PAUSE_S = 2.0  # the longest while somebody waits
TELL_AFTER_S = 10.0  # what lasts less is nobody's concern


@dataclass
class _Waiting:
    """A checkpoint that is to be uploaded: its open file, and what the pointer will say."""

    file: BinaryIO
    pointer: Pointer


class Uploader:
    """Uploads the latest and the best checkpoint of a folder, in a thread of its own.

    Args:
        objects: Where to.
        folder: Where from.
    """

    def __init__(self, objects: CheckpointObjects, folder: Path):
        self.objects, self.folder = objects, folder
        self._offered: dict[str, Pointer] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._pointed: dict[str, Pointer] | None = None  # what the store says, once it was asked
        self._garbage: set[str] = set()
        self._change = threading.Condition()
        self._is_busy = self._is_closing = self._is_over = self._has_told = False
        self._moved_at, self._failing_since, self._pause_s = time.monotonic(), 0.0, 0.0
        self._error = ""
        self._thread = threading.Thread(target=self._run, name="paceline-upload", daemon=True)

    def offer(self, step: int) -> None:
        """Let what is new in the folder be uploaded; nobody waits for it.

        Args:
            step: Optimizer steps made.
        """
        for kind in (LATEST, BEST):
            waiting = _opened(self.folder / kind, step)
            if waiting is None:
                continue
            with self._change:
                offered = self._offered.get(kind)
                if offered is not None and offered.digest == waiting.pointer.digest:
                    waiting.file.close()
                    continue
                self._offered[kind] = waiting.pointer
                if kind in self._waiting:
                    self._waiting[kind].file.close()
                self._waiting[kind] = waiting
                self._change.notify_all()
        if self._thread.ident is None:
            self._thread.start()

    def uploaded(self, kind: str) -> Pointer | None:
        """What the store has of what was last offered; None: not that."""
        with self._change:
            is_there = kind in self._offered and self._is_there(kind)
            return (self._pointed or {})[kind] if is_there else None

    def wait(self, patience_s: float = PATIENCE_S, most_s: float | None = None) -> bool:
        """Wait until all that was offered has been uploaded.

        Args:
            patience_s: Give up after so long without a byte.
            most_s: Give up after so long; none: never, while it moves.

        Returns:
            Whether all is there.
        """
        begin = self._moved_at = time.monotonic()
        with self._change:
            self._is_closing = True
            self._change.notify_all()
            while self._waiting or self._is_busy:
                now = time.monotonic()
                if now - self._moved_at > patience_s or now - begin > (most_s or now):
                    return False
                self._change.wait(0.1)
            self._is_closing = False
        return True

    def close(self, patience_s: float = PATIENCE_S, most_s: float | None = None) -> bool:
        """Wait as `wait` does, tell what is not uploaded, and end the thread.

        Returns:
            Whether all is there.
        """
        is_done = self.wait(patience_s, most_s)
        with self._change:
            self._is_over = True
            if not is_done:
                kinds = self._waiting.keys() | {k for k in self._offered if not self._is_there(k)}
                self._tell_left({kind: self._offered[kind] for kind in sorted(kinds)})
            for waiting in self._waiting.values():
                waiting.file.close()
            self._waiting.clear()
            self._change.notify_all()
        if is_done and self._thread.ident is not None:
            self._thread.join()
        return is_done

    def tidy(self) -> None:
        """Delete what nobody points at, at the end of a run that nobody else can be training."""
        with contextlib.suppress(OSError):
            pointed = self.objects.pointers()
            if pointed:
                self._garbage.update(self.objects.strays(pointed.values(), timedelta(0)))
                self._delete_garbage({pointer.name for pointer in pointed.values()})

    def _is_there(self, kind: str) -> bool:
        pointed = (self._pointed or {}).get(kind)
        return pointed is not None and pointed.digest == self._offered[kind].digest

    def _tell_left(self, left: Mapping[str, Pointer]) -> None:
        names = ", ".join(f"{k} (step {p.step}, {p.size:,} bytes)" for k, p in left.items())
        where = self.objects.store.location.plain_uri
        reason = self._error or "it is slow"
        logger.warning("Not uploaded to %s: %s: %s. In %s.", where, names, reason, self.folder)

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            kind, waiting = taken
            try:
                self._upload(kind, waiting)
            except Exception as error:  # whatever Arrow raises
                self._failed(kind, waiting, error)
            else:
                self._succeeded(waiting)

    def _take(self) -> tuple[str, _Waiting] | None:
        """The next to upload, after the pause that is due; None at the end."""
        with self._change:
            ready_at = time.monotonic() + self._pause_s
            while not self._is_over:
                most = LAST_PAUSE_S if self._is_closing else LONGEST_PAUSE_S
                ready_at = min(ready_at, time.monotonic() + most)
                pause = ready_at - time.monotonic()
                if self._waiting and pause <= 0:
                    kind = min(self._waiting, key=(LATEST, BEST).index)
                    self._is_busy = True
                    return kind, self._waiting.pop(kind)
                self._change.wait(max(pause, 0.01) if self._waiting else None)
            return None

    def _upload(self, kind: str, waiting: _Waiting) -> None:
        objects, pointer = self.objects, waiting.pointer
        pointed = self._pointed
        if pointed is None:
            pointed = objects.pointers()
            self._garbage.update(objects.strays(pointed.values()))
        old = pointed.get(kind)
        if old is None or old.digest != pointer.digest:
            objects.put(pointer, waiting.file, self._note_move)
            objects.point(kind, pointer)
            self._garbage.update({old.name} if old else ())
            pointed = {**pointed, kind: pointer}
        with self._change:
            self._pointed = pointed
        self._note_move()
        self._delete_garbage({pointer.name for pointer in pointed.values()})

    def _delete_garbage(self, needed: set[str]) -> None:
        self._garbage -= needed
        for name in sorted(self._garbage):
            with contextlib.suppress(OSError):  # later, then
                self.objects.store.delete(name)
                self._garbage.discard(name)

    def _note_move(self) -> None:
        self._moved_at = time.monotonic()

    def _succeeded(self, waiting: _Waiting) -> None:
        waiting.file.close()
        if self._has_told:
            logger.warning("%s answers again.", self.objects.store.location.plain_uri)
        with self._change:
            self._failing_since = self._pause_s = 0.0
            self._is_busy = self._has_told = False
            self._error = ""
            self._change.notify_all()

    def _failed(self, kind: str, waiting: _Waiting, error: Exception) -> None:
        now = time.monotonic()
        with self._change:
            self._error = told(error) if isinstance(error, OSError) else repr(error)
            self._failing_since = self._failing_since or now
            longer = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            self._pause_s = longer * random.uniform(0.8, 1.0)  # many runs may share the store
            if kind in self._waiting or self._is_over:
                waiting.file.close()
            else:
                self._waiting[kind] = waiting
            self._is_busy = False
            self._change.notify_all()
        if not self._has_told and now - self._failing_since > TELL_AFTER_S:
            self._has_told = True
            where, reason = self.objects.store.location.plain_uri, self._error
            logger.warning("%s does not take checkpoints; trying on. %s", where, reason)


def _opened(path: Path, step: int) -> _Waiting | None:
    """A checkpoint as it is now; None: there is none."""
    try:
        listed = digest_file(path).read_text().split()
        file = path.open("rb")
    except OSError:
        return None
    size = path.stat().st_size
    return _Waiting(file, Pointer(listed[0] if len(listed) == 1 else digest(path), size, step))

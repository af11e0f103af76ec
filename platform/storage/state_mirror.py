"""The state of a run or sweep in an object store, so that any machine can go on with it.

What its driver keeps (run.json, config.yaml, the journal of a sweep) stays on the driver's disk and
is copied every few seconds, all files as the one object NAME/state.json: whoever reads it gets them
as they were together. A file beside them, `.in-store`, remembers what the store was given or gave
last: if it has something else since then, another machine has gone on, and its state counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError
from .lease import Lease
from .object_store import ObjectStore, told

logger = logging.getLogger("paceline.storage")

STATE, SEEN = "state.json", ".in-store"
EVERY_S = 5.0
PATIENCE_S = 60.0  # how long the end of a run waits for a store that does not answer
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(json|jsonl|yaml)")
_NOTHING = "-"
Write = Callable[[Path, str], None]


class StateMirror:
    """Keeps a folder's state in an object store.

    Args:
        store: The run's own place in the store.
        folder: Its folder on the driver's disk.
        write: Writes a small file whole or not at all.
        lease: This process's right to work on it, kept for as long as the mirror runs.
    """

    def __init__(self, store: ObjectStore, folder: Path, write: Write, lease: Lease | None = None):
        self.store, self.folder, self.write, self.lease = store, folder, write, lease
        self._stamps: dict[str, tuple[int, int]] = {}
        self._is_over, self._has_told, self._is_lost = threading.Event(), False, False
        self._thread = threading.Thread(target=self._run, name="paceline-state", daemon=True)

    def pull(self) -> bool:
        """Take the store's state, if another machine has gone on since it was seen last.

        Returns:
            Whether the store has one.

        Raises:
            OSError: It does not answer.
            UserError: What it has is no state.
        """
        data = self.store.get(STATE)
        if data is None or hashlib.sha256(data).hexdigest() in self._seen():
            return data is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, text in _files_in(data, self.store).items():
            self.write(self.folder / name, text)
        self._remember(data)
        return True

    def push(self) -> None:
        """Give the store what is new here.

        Raises:
            OSError: It does not answer.
        """
        if not (self.folder / "run.json").exists():
            return
        files = [p for p in sorted(self.folder.iterdir()) if _FILE.fullmatch(p.name)]
        stamps = {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in files}
        if stamps == self._stamps:
            return
        data = json.dumps({"files": {p.name: p.read_text() for p in files}}).encode()
        known = (self._seen() or [_NOTHING])[0]
        if hashlib.sha256(data).hexdigest() != known:
            self._remember(known, data)  # whichever of both a crash leaves in the store
            self.store.put(STATE, data)
            self._remember(data)
        self._stamps = stamps

    def start(self) -> None:
        """Begin to push, every few seconds."""
        self._thread.start()

    def close(self) -> None:
        """Push the end, wait for that while it may help, and say so if it did not."""
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._is_lost:
            return
        deadline = time.monotonic() + PATIENCE_S
        while (error := self._pushed()) is not None:
            if time.monotonic() > deadline:
                where, reason = self.store.location.plain_uri, told(error)
                logger.warning("The state of %s is not in %s. %s", self.folder, where, reason)
                return
            time.sleep(1)
        with contextlib.suppress(OSError):
            if self.lease is not None:
                self.lease.release()

    def _run(self) -> None:
        while not self._is_over.wait(EVERY_S):
            error = self._pushed()
            if self._is_lost:
                self._leave()
                return
            if error is not None and not self._has_told:
                where = self.store.location.plain_uri
                logger.warning(
                    "%s does not take the run's state; trying on. %s", where, told(error)
                )
            self._has_told = error is not None

    def _leave(self) -> None:
        """End this process's work in order: what it would write is another's now."""
        where = self.store.location.plain_uri
        logger.error("Another process has taken %s over; this one leaves it.", where)
        if callable(signal.getsignal(signal.SIGTERM)):
            os.kill(os.getpid(), signal.SIGTERM)

    def _pushed(self) -> OSError | None:
        try:
            self._is_lost = self.lease is not None and not self.lease.renew()
            if not self._is_lost:
                self.push()
        except OSError as error:
            return error
        return None

    def _seen(self) -> list[str]:
        with contextlib.suppress(OSError):
            return (self.folder / SEEN).read_text().split()
        return []

    def _remember(self, *states: bytes | str) -> None:
        """Note what the store has, and behind it what it may have instead."""
        digests = [s if isinstance(s, str) else hashlib.sha256(s).hexdigest() for s in states]
        self.write(self.folder / SEEN, "\n".join(digests) + "\n")


def _files_in(data: bytes, store: ObjectStore) -> dict[str, str]:
    """File name -> text of a state; nothing of it leaves the folder."""
    try:
        files = json.loads(data)["files"]
        is_sound = all(_FILE.fullmatch(name) and type(files[name]) is str for name in files)
    except (ValueError, TypeError, KeyError):
        files, is_sound = {}, False
    if not is_sound or "run.json" not in files:
        where = store.location.under(STATE).plain_uri
        raise UserError(f"`{STATE}` must be a run's state, but is damaged.", where)
    return files

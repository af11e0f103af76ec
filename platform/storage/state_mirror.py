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
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import UserError, must
from .location import FLAG, is_object_store, parse
from .object_store import ObjectStore, told, unusable

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
    """

    def __init__(self, store: ObjectStore, folder: Path, write: Write):
        self.store, self.folder, self.write = store, folder, write
        self._stamps: dict[str, tuple[int, int]] = {}
        self._is_over, self._has_told = threading.Event(), False
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
        self._thread.join()
        deadline = time.monotonic() + PATIENCE_S
        while (error := self._pushed()) is not None:
            if time.monotonic() > deadline:
                where, reason = self.store.location.plain_uri, told(error)
                logger.warning("The state of %s is not in %s. %s", self.folder, where, reason)
                return
            time.sleep(1)

    def _run(self) -> None:
        while not self._is_over.wait(EVERY_S):
            error = self._pushed()
            if error is not None and not self._has_told:
                where = self.store.location.plain_uri
                logger.warning(
                    "%s does not take the run's state; trying on. %s", where, told(error)
                )
            self._has_told = error is not None

    def _pushed(self) -> OSError | None:
        try:
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


def check_usable(storage: str) -> ObjectStore:
    """Write, read and delete an object.

    Args:
        storage: Address of an object store.

    Returns:
        The store.

    Raises:
        UserError: It is unreachable, or one of that is forbidden.
    """
    store, token = ObjectStore(parse(storage)), secrets.token_hex(8)
    try:
        store.put(f".probe-{token}", token.encode())
        found = store.get(f".probe-{token}")
        store.delete(f".probe-{token}")
    except OSError as error:
        raise unusable(store.location, error) from None
    if found != token.encode():
        raise unusable(store.location, OSError("what was written is not what is read"))
    return store


def is_taken(storage: str | None, name: str) -> bool:
    """Whether an object store has a run or sweep of a name.

    Raises:
        UserError: It does not answer.
    """
    if storage is None or not is_object_store(storage):
        return False
    store = ObjectStore(parse(storage)).under(name)
    try:
        return store.size(STATE) is not None
    except OSError as error:
        raise unusable(store.location, error) from None


def refresh(storage: str | None, folder: Path, write: Write) -> None:
    """Bring the state of a run or sweep to this disk, if another machine has gone on with it.

    Args:
        storage: Where it is kept; of anything but an object store there is nothing to bring.
        folder: Its folder on this disk.
        write: Writes a small file whole or not at all.

    Raises:
        UserError: The store does not answer and nothing is here, or what it has is no state.
    """
    if storage is None or not is_object_store(storage):
        return
    store = ObjectStore(parse(storage))
    try:
        StateMirror(store.under(folder.name), folder, write).pull()
    except OSError as error:
        if not (folder / "run.json").exists():
            raise unusable(store.location, error) from None
        logger.warning("%s does not answer; %s", store.location.plain_uri, told(error))


@contextlib.contextmanager
def kept_in_store(storage: str | None, folder: Path, write: Write, again: bool) -> Iterator[None]:
    """Keep the state of what is worked on in its object store, if it has one.

    Args:
        storage: Where it is kept.
        folder: Its folder on this disk, which this process alone works on.
        write: Writes a small file whole or not at all.
        again: The name may be taken (a resume).

    Raises:
        UserError: The store cannot be used, or has another run of the name.
    """
    if storage is None or not is_object_store(storage):
        yield
        return
    store = check_usable(storage)
    if not again and is_taken(storage, folder.name):
        where = store.location.under(folder.name).plain_uri
        remedy = f"another --name, or go on with it: paceline resume {folder.name} {FLAG} {storage}"
        raise UserError(must("--name", "a new name", folder.name), where, remedy)
    refresh(storage, folder, write)
    mirror = StateMirror(store.under(folder.name), folder, write)
    mirror.start()
    try:
        yield
    finally:
        mirror.close()

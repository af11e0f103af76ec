"""The checkpoints of a run in an object store, each whole or not there.

checkpoints/SHA256.ckpt      a checkpoint, named by what is in it
latest.json, best.json       which of them it is: SHA-256, size, optimizer steps

A checkpoint is put first, then the small object that points at it, and what nobody points at is
deleted afterwards. So whoever reads follows a pointer to an object that was complete before, or is
told that it is gone and reads the pointer again. What arrives is compared with the pointer's
SHA-256, is never more than it says, and is nothing but a file until `checkpoint_file.read` has
looked at it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from ..errors import UserError, must
from ..training.checkpoint_file import publish, read
from ..training.checkpoint_names import BEST, LATEST
from .object_store import ObjectStore

FOLDER = "checkpoints"
_DIGEST = re.compile(r"[0-9a-f]{64}")
# One that nobody points at may be of an upload that is under way.
STRAY_AFTER = timedelta(minutes=15)


@dataclass(frozen=True)
class Pointer:
    """Which object a run's latest or best checkpoint is.

    Args:
        digest: SHA-256 of its content, in hex.
        size: Bytes.
        step: Optimizer steps made when it was saved.
    """

    digest: str
    size: int
    step: int

    @property
    def name(self) -> str:
        """The object's name."""
        return f"{FOLDER}/{self.digest}.ckpt"


def read_pointer(text: bytes) -> Pointer | None:
    """The pointer that a text is; None when it is none, whoever wrote it."""
    try:
        pointer = Pointer(**json.loads(text))
        counts = (pointer.size, pointer.step)
        is_sound = _DIGEST.fullmatch(pointer.digest) and all(type(c) is int for c in counts)
    except (ValueError, TypeError):
        return None
    return pointer if is_sound and min(counts) >= 0 else None


class CheckpointObjects:
    """The latest and the best checkpoint of one run or trial; methods raise OSError as the store's.

    Args:
        store: The run's own place in the store.
    """

    def __init__(self, store: ObjectStore):
        self.store = store

    def uri(self, pointer: Pointer) -> str:
        """A checkpoint's address, as every tool takes it."""
        return self.store.location.under(pointer.name).plain_uri

    def pointer(self, kind: str) -> Pointer | None:
        """Which object the latest or the best is; None: there is none.

        Args:
            kind: `latest.ckpt` or `best.ckpt`.
        """
        text = self.store.get(_pointer_name(kind), most=1000)
        return None if text is None else read_pointer(text)

    def pointers(self) -> dict[str, Pointer]:
        """Both, as far as they are there."""
        found = {kind: self.pointer(kind) for kind in (LATEST, BEST)}
        return {kind: pointer for kind, pointer in found.items() if pointer is not None}

    def put(self, pointer: Pointer, file: BinaryIO, moved: Callable[[], object] = int) -> None:
        """Put a checkpoint that nobody points at yet, unless it is there.

        Args:
            pointer: What it is.
            file: Its content.
            moved: Called after each part.
        """
        if self.store.size(pointer.name) == pointer.size:
            return
        found = self.store.put_file(pointer.name, file, moved)
        if found != pointer.digest:
            self.store.delete(pointer.name)
            raise OSError(f"the file on this disk is no longer the one that was saved: {found}")

    def point(self, kind: str, pointer: Pointer) -> None:
        """Make a checkpoint that is there the latest or the best."""
        self.store.put(_pointer_name(kind), json.dumps(asdict(pointer)).encode())

    def strays(self, needed: Collection[Pointer], after: timedelta | None = None) -> list[str]:
        """Checkpoints of uploads that were cut off.

        Args:
            needed: What the pointers say.
            after: Only older ones; default: so old that no upload is under way.
        """
        after = STRAY_AFTER if after is None else after
        names, now = {pointer.name for pointer in needed}, datetime.now(UTC)
        return [
            f"{FOLDER}/{found.name}"
            for found in self.store.under(FOLDER).listed()
            if f"{FOLDER}/{found.name}" not in names and now - found.changed > after
        ]

    def remove(self, kinds: Collection[str], *, dry_run: bool = False) -> dict[str, int]:
        """Delete checkpoints, and what is left of uploads that were cut off, once nobody uploads.

        A pointer goes before the object it points at, so that nobody ever follows one to nothing.

        Args:
            kinds: `latest.ckpt`, `best.ckpt`; an object that the other one needs stays.
            dry_run: Only tell.

        Returns:
            Name -> bytes of each object.
        """
        pointers = {_pointer_name(kind) for kind in kinds}
        needed = {p.name for kind, p in self.pointers().items() if kind not in kinds}
        found = {one.name: one.size for one in self.store.listed()}
        doomed = [name for name in found if name in pointers]
        doomed += [n for n in found if n.startswith(f"{FOLDER}/") and n not in needed]
        for name in () if dry_run else doomed:
            self.store.delete(name)
        return {name: found[name] for name in doomed}

    def bring(self, kind: str, pointer: Pointer, folder: Path) -> Path:
        """Copy a checkpoint into a folder, where it takes the place of the one of its name.

        Args:
            kind: `latest.ckpt` or `best.ckpt`.
            pointer: Which object it is.
            folder: The run's folder on this machine; made when missing.

        Raises:
            UserError: Its content is not what the pointer says, or no checkpoint of plain values.
            FileNotFoundError: It is gone: another one has become the latest or the best.
        """
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{kind}.new"
        try:
            self._copy(pointer, temporary)
            read(temporary, self.uri(pointer))
            publish(temporary, folder / kind)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return folder / kind

    def _copy(self, pointer: Pointer, path: Path) -> None:
        hashed, room = hashlib.sha256(), pointer.size
        with path.open("wb") as file:

            def write(chunk: bytes) -> None:
                nonlocal room
                room -= len(chunk)
                if room < 0:
                    raise self._differs(pointer, f"more than {pointer.size} bytes")
                hashed.update(chunk)
                file.write(chunk)

            self.store.copy_to(pointer.name, write)
        if (found := hashed.hexdigest()) != pointer.digest:
            raise self._differs(pointer, f"{found[:12]}...")

    def _differs(self, pointer: Pointer, found: str) -> UserError:
        rule = f"the object whose SHA-256 is {pointer.digest[:12]}..."
        remedy = "it was changed or cut short; go on from another one with --ckpt_path"
        return UserError(must("checkpoint", rule, found), self.uri(pointer), remedy)


def _pointer_name(kind: str) -> str:
    return kind.replace(".ckpt", ".json")

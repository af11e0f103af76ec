"""Where a run goes on: at the newer of the checkpoints on this disk and in the object store."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from ..errors import UserError, must
from ..training.checkpoint_file import digest, newest_whole, publish, read
from ..training.checkpoint_names import BEST, LATEST, digest_file
from .checkpoint_objects import CheckpointObjects, Pointer
from .location import parse
from .object_store import ObjectStore, told, unusable

logger = logging.getLogger("paceline.storage")

PATIENCE_S = 300.0  # how long an attempt waits for a store that does not answer
PAUSE_S = 5.0


class _Replaced(Exception):
    """A checkpoint went while it was fetched, because a newer one has taken its place."""


def newest(folder: Path, objects: CheckpointObjects, patience_s: float = PATIENCE_S) -> str | None:
    """The newest whole checkpoint of a run, on this disk; None: there is none yet.

    Args:
        folder: The run's folder on this machine.
        objects: What it has in the store.
        patience_s: How long to wait for the store where this disk has no checkpoint.

    Raises:
        UserError: The store does not answer and this disk has none, or none that is there is whole.
    """
    here = newest_whole(folder)
    begin = time.monotonic()
    while True:
        try:
            return _newer(folder, here, objects)
        except _Replaced:
            continue
        except OSError as error:
            where = objects.store.location
            if here is not None:
                logger.warning("%s does not answer; going on from %s.", where.plain_uri, here)
                return here
            if time.monotonic() - begin > patience_s:
                raise unusable(where, error) from None
            logger.warning("Waiting for %s: %s", where.plain_uri, told(error))
            time.sleep(PAUSE_S)


def newest_of(place: str | None, folder: Path, patience_s: float = PATIENCE_S) -> str | None:
    """As `newest`, by the run's address in an object store; None: only this disk has any.

    Raises:
        UserError: As `newest`.
    """
    if place is None:
        return newest_whole(folder)
    return newest(folder, CheckpointObjects(ObjectStore(parse(place))), patience_s)


def best_address(place: str) -> str | None:
    """Where a run's best checkpoint is in the store; None: nowhere, or the store does not answer.

    Args:
        place: The run's own place in an object store.
    """
    objects = CheckpointObjects(ObjectStore(parse(place)))
    try:
        pointer = objects.pointer(BEST)
    except OSError:
        return None
    return objects.uri(pointer) if pointer else None


def local_copy(address: str, storage: str, runs: Path) -> Path:
    """A best checkpoint on this disk, fetched if it is not there.

    Args:
        address: Its address in the store, as a run's or a trial's state has it.
        storage: Address of the storage.
        runs: The folder of runs on this disk.

    Raises:
        UserError: It is not of this storage, is gone, or the store does not answer.
    """
    root = parse(storage)
    below = address.removeprefix(f"{root.plain_uri}/").split("/")
    if below == [address] or len(below) < 3 or ".." in below:
        raise UserError(must("checkpoint", f"an object of {root.plain_uri}", address), storage)
    names, found = below[:-2], below[-1].removesuffix(".ckpt")
    folder = runs.joinpath(*names)
    for path in (folder / BEST, folder / LATEST):
        if path.exists() and digest(path) == found:
            return path
    objects = CheckpointObjects(ObjectStore(root.under(*names)))
    while True:
        try:
            pointer = objects.pointer(BEST)
            if pointer is None:
                raise UserError(must("checkpoint", "an object that exists", address), storage)
            return bring_once(BEST, pointer, folder, objects)
        except _Replaced:
            continue
        except OSError as error:
            raise unusable(root, error) from None


def _newer(folder: Path, here: str | None, objects: CheckpointObjects) -> str | None:
    pointers = objects.pointers()
    step = -1 if here is None else int(read(here).get("global_step", 0))
    refused: UserError | None = None
    for kind in (LATEST, BEST):
        pointer = pointers.get(kind)
        if pointer is None:
            continue
        if pointer.step <= step or (here is not None and digest(Path(here)) == pointer.digest):
            return here
        try:
            return str(_bring(kind, pointers, folder, objects))
        except UserError as error:
            refused = error
            logger.warning("%s in the object store is passed over: %s", kind, error.what)
    if refused is not None and here is None:
        raise refused
    return here


def _bring(
    kind: str, pointers: Mapping[str, Pointer], folder: Path, objects: CheckpointObjects
) -> Path:
    """Bring a checkpoint, and the best beside it, against which the next ones are measured."""
    path = bring_once(kind, pointers[kind], folder, objects)
    if kind == LATEST and BEST in pointers:
        try:
            bring_once(BEST, pointers[BEST], folder, objects)
        except UserError as error:
            logger.warning("best.ckpt in the object store is passed over: %s", error.what)
            (folder / BEST).unlink(missing_ok=True)
            digest_file(folder / BEST).unlink(missing_ok=True)
    return path


def bring_once(kind: str, pointer: Pointer, folder: Path, objects: CheckpointObjects) -> Path:
    """Bring a checkpoint unless this disk has it, under one name or the other.

    Args:
        kind: `latest.ckpt` or `best.ckpt`.
        pointer: Which object it is.
        folder: The run's folder on this machine.
        objects: What it has in the store.

    Raises:
        UserError: As `CheckpointObjects.bring`.
        _Replaced: It is gone, because there is a newer one.
        OSError: The store does not answer.
    """
    for other in (kind, LATEST, BEST):
        path = folder / other
        if not path.exists() or digest(path) != pointer.digest:
            continue
        if other != kind:
            copy = folder / f".{kind}.new"
            copy.write_bytes(path.read_bytes())
            publish(copy, folder / kind)
        return folder / kind
    try:
        return objects.bring(kind, pointer, folder)
    except FileNotFoundError:
        if objects.pointer(kind) != pointer:
            raise _Replaced from None
        where = objects.uri(pointer)
        raise UserError(must("checkpoint", "an object that exists", where), kind) from None

"""A run or sweep and its object store: whether its name is free, and who works on it."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError, must
from .lease import Lease
from .location import FLAG, is_object_store, parse
from .object_store import ObjectStore, told, unusable
from .state_mirror import STATE, StateMirror, Write

logger = logging.getLogger("paceline.storage")


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
        UserError: The store cannot be used, has another run of the name, or a living process of
            another machine works on it.
    """
    if storage is None or not is_object_store(storage):
        yield
        return
    store = check_usable(storage)
    if not again and is_taken(storage, folder.name):
        where = store.location.under(folder.name).plain_uri
        remedy = f"another --name, or go on with it: paceline resume {folder.name} {FLAG} {storage}"
        raise UserError(must("--name", "a new name", folder.name), where, remedy)
    lease = Lease(store.under(folder.name), folder)
    try:
        lease.take()
    except OSError as error:
        raise unusable(store.location, error) from None
    mirror = StateMirror(store.under(folder.name), folder, write, lease)
    try:
        refresh(storage, folder, write)
        mirror.start()
        yield
    finally:
        mirror.close()

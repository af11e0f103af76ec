"""A checkpoint that is given by its address in an object store, as results and records tell it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re

from ..errors import UserError, must
from ..home import home
from ..training.checkpoint_file import digest
from .location import is_object_store, parse
from .object_store import ObjectStore, unusable

FOLDER = "fetched"
_NAMED_BY_CONTENT = re.compile(r"([0-9a-f]{64})\.ckpt")


def fetched(path: str) -> str:
    """A checkpoint as a file of this disk.

    Args:
        path: A file, which is left as it is, or `s3://bucket/.../NAME.ckpt`. One of ours is named
            by its SHA-256: it is compared, and fetched only once.

    Raises:
        UserError: There is no such object, it is not what its name says, or the store does not
            answer.
    """
    if not is_object_store(path):
        return path
    address, _, options = path.partition("?")
    above, _, name = address.rpartition("/")
    store = ObjectStore(parse(f"{above}?{options}" if options else above))
    folder = home() / FOLDER
    named = _NAMED_BY_CONTENT.fullmatch(name)
    target = folder / (name if named else f"{hashlib.sha256(path.encode()).hexdigest()}.ckpt")
    if named and target.exists() and digest(target) == named[1]:
        return str(target)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{target.name}.{os.getpid()}"
    try:
        with temporary.open("wb") as file:
            store.copy_to(name, file.write)
        if named and (found := digest(temporary)) != named[1]:
            rule = f"the object whose SHA-256 is {named[1][:12]}..."
            raise UserError(must("ckpt_path", rule, f"{found[:12]}..."), address)
        os.replace(temporary, target)
    except FileNotFoundError:
        raise UserError(
            must("ckpt_path", "an object that exists", address), "--ckpt_path"
        ) from None
    except OSError as error:
        raise unusable(store.location, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return str(target)

"""Subword units that took seconds to learn, kept in a file so that the next process reads them.

A file's name is the digest of all that makes units differ. A damaged file counts as absent, and a
folder that cannot be written costs no more than the time to learn them again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..files import data_home
from .subwords import Subwords

RULE = 1  # counts up whenever the same texts would give other units


def learned(texts: Sequence[str], size: int) -> Subwords:
    """The units of some sentences, from the cache or learned now.

    Args:
        texts: The sentences.
        size: See `Subwords.learn`.
    """
    content = "\n".join((f"{RULE} {size}", *texts)).encode()
    path = data_home() / "subwords" / f"{hashlib.sha256(content).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Subwords(**json.loads(path.read_text("utf-8")))
    units = Subwords.learn(texts, size)
    with contextlib.suppress(OSError):
        _keep(units, path)
    return units


def _keep(units: Subwords, path: Path) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        part = Path(folder) / path.name
        part.write_text(json.dumps(units.state(), ensure_ascii=False), "utf-8")
        os.replace(part, path)

"""The checkpoints of members at their rungs.

A donor trains on while others copy it, so what it was at a rung is kept beside its latest, as a
second name of the same file, until nobody can copy it any more.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...platform.training.checkpoint_names import LATEST, digest_file
from ..rows import Rows
from .judge import PopulationJudge

_PREFIX = "rung-"


def rung_file(folder: Path, rung: float) -> Path:
    """What a member was at a rung."""
    return folder / f"{_PREFIX}{rung:.12g}.ckpt"


def keep(folder: Path, rungs: Sequence[float]) -> None:
    """Keep a member's latest checkpoint as what it was at some rungs."""
    from ...platform.training.checkpoint_file import publish  # with torch, which a look spares

    for rung in rungs:
        path = rung_file(folder, rung)
        temporary = path.with_name(f".{path.name}.new")
        temporary.unlink(missing_ok=True)
        try:
            os.link(folder / LATEST, temporary)
        except OSError:  # a file system without second names
            shutil.copyfile(folder / LATEST, temporary)
        publish(temporary, path)


def disposable(rows: Rows, judge: PopulationJudge, rung: float) -> bool:
    """Whether nobody can need the checkpoints of a rung any more. Pure."""
    if len(rows) < judge.population.size:
        return False  # who has not begun comes there last
    for row in rows:
        if row.is_over:
            continue
        verdict = row.verdict_at(rung)
        is_behind = verdict is None and (not row.verdicts or row.verdicts[-1].rung < rung)
        if is_behind and rung in judge.rungs(row.number):
            return False
        made = verdict is None or verdict.donor is None or row.has_reported_since_copy
        if not made and row.copies[-1].rung == rung:
            return False
    return True


def remove(folders: Iterable[Path], rungs: Iterable[float]) -> None:
    """Remove the members' checkpoints of some rungs."""
    for rung, folder in itertools.product(rungs, folders):
        path = rung_file(folder, rung)
        for found in (path, digest_file(path)):
            with contextlib.suppress(OSError):
                found.unlink(missing_ok=True)

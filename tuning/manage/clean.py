"""`paceline clean`: delete the checkpoints of a sweep that nobody needs any more.

What is deleted is named by one pure rule, `disposable`, and by nothing else: ordinary files of a
trial's own folder that carry the names of our checkpoints. No link is followed on the way there, so
nothing outside the sweep's folder can be reached.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ...platform.errors import UserError
from ...platform.home import claim, is_held, read_state, runs_folder
from ...platform.storage.location import parse, place_of
from ...platform.storage.object_store import ObjectStore, told
from ...platform.training.checkpoint_names import BEST, LATEST
from ..journal import JOURNAL
from ..report.pareto import pareto
from ..rows import Rows, TrialRow
from ..trial_folder import folder_of, names_of
from .found import (
    Sweep,
    by_score,
    config_values,
    find_folder,
    folder_names,
    open_sweep,
    read_sweep,
)

_NO_LINK = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass
class Cleaned:
    """What was deleted of one sweep, or would be.

    Args:
        name: The sweep.
        status: How it stands.
        kept: Trials whose best checkpoint stays because it is among the best.
        living: Trials that may go on; nothing of them was touched.
        removed: Files, from the sweep's folder, and objects by their address.
        bytes: Their size.
        refused: Why nothing was done; empty when it was.
    """

    name: str
    status: str = ""
    kept: list[str] = field(default_factory=list)
    living: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    bytes: int = 0
    refused: str = ""

    def as_dict(self) -> dict[str, Any]:
        """One entry of `sweeps` in the answer."""
        return asdict(self)


def disposable(
    rows: Rows,
    keep: int,
    is_living: Callable[[TrialRow], bool] = lambda row: not row.is_over,
    also: Collection[int] = (),
) -> dict[int, tuple[str, ...]]:
    """Which checkpoints nobody needs. Pure; a driver may use it while its sweep runs.

    Of a trial that is done the latest checkpoint serves nobody, and the best one only where the
    trial is among the best. A trial that may go on needs both: the one to go on from, and the one
    that would be lost when its best epoch lies behind it.

    Args:
        rows: The trials.
        keep: Of how many of the best trials the best checkpoint stays.
        is_living: Whether a trial may go on; its checkpoints stay.
        also: Numbers of further trials whose best checkpoint stays.

    Returns:
        Trial number -> names of its checkpoints that may go.
    """
    best = {row.number for row in by_score(rows)[:keep]} | set(also)
    return {
        row.number: (LATEST,) if row.number in best else (BEST, LATEST)
        for row in rows
        if not is_living(row)
    }


def clean(
    name: str | None = None, storage: str | None = None, *, keep: int = 3, dry_run: bool = False
) -> list[Cleaned]:
    """Delete what nobody needs of a sweep, or of all sweeps of a storage.

    Args:
        name: A sweep; None: all of them. Single runs keep what they have.
        storage: Folder of runs; default under the home.
        keep: Of how many of the best trials the best checkpoint stays.
        dry_run: Only tell.

    Returns:
        One entry a sweep; of all sweeps, one that is damaged is told in its `refused`.

    Raises:
        UserError: No such sweep, or that one is damaged.
    """
    if name is not None:
        return [_clean_one(find_folder(name, storage), storage, keep, dry_run=dry_run)]
    return [
        _clean_or_refuse(runs_folder(storage) / found, storage, keep, dry_run=dry_run)
        for found in folder_names(storage)
        if _may_be_sweep(found, storage)
    ]


def _may_be_sweep(name: str, storage: str | None) -> bool:
    """Whether a folder is a sweep's, for all that is known of one without a sound state."""
    with contextlib.suppress(UserError):
        return read_state(name, storage).get("kind") == "sweep"
    return (runs_folder(storage) / name / JOURNAL).exists()


def _clean_or_refuse(folder: Path, storage: str | None, keep: int, *, dry_run: bool) -> Cleaned:
    try:
        return _clean_one(folder, storage, keep, dry_run=dry_run)
    except UserError as error:
        return Cleaned(folder.name, "damaged", refused=f"{error.what} ({error.where})")


def _clean_one(folder: Path, storage: str | None, keep: int, *, dry_run: bool) -> Cleaned:
    """One sweep; while nobody drives it, its lock keeps a resume from beginning in between.

    Raises:
        UserError: It is damaged, or its files cannot be removed.
    """
    sweep = open_sweep(folder.name, storage)
    if folder.is_symlink():
        what = f"`{folder.name}` must be a folder itself, but is a link to one."
        raise UserError(what, str(folder), f"--storage {folder.resolve().parent}")
    if sweep.is_held or dry_run:
        return _clean(sweep, keep, dry_run=dry_run)
    with claim(folder.name, storage, again=True):
        sweep = replace(read_sweep(folder, read_state(folder.name, storage)), is_held=False)
        return _clean(sweep, keep, dry_run=dry_run)


def _clean(sweep: Sweep, keep: int, *, dry_run: bool) -> Cleaned:
    def is_living(row: TrialRow) -> bool:
        """Killed ones go on at a resume; a process may outlive its trial, or its driver."""
        goes_on = not row.is_over or (row.status == "killed" and sweep.can_go_on)
        return goes_on or is_held(folder_of(sweep.folder, row.number))

    also = _on_front(sweep)
    doomed = disposable(sweep.rows, keep, is_living, also)
    cleaned = Cleaned(sweep.name, sweep.status)
    cleaned.living = [row.trial_id for row in sweep.rows if row.number not in doomed]
    cleaned.kept = [
        row.trial_id for row in sweep.rows if BEST not in doomed.get(row.number, (BEST,))
    ]
    try:
        for number, names in doomed.items():
            folder = folder_of(sweep.folder, number)
            for file, size in _remove(sweep.folder, folder.name, names, dry_run=dry_run):
                cleaned.removed.append(f"trials/{folder.name}/{file}")
                cleaned.bytes += size
    except OSError as error:
        what = f"`{sweep.name}` must be a folder of your own, but is not: {error.strerror}."
        raise UserError(what, str(error.filename or sweep.folder)) from None
    for address, size in _remove_objects(sweep, doomed, dry_run=dry_run):
        cleaned.removed.append(address)
        cleaned.bytes += size
    return cleaned


def _remove_objects(
    sweep: Sweep, doomed: dict[int, tuple[str, ...]], *, dry_run: bool
) -> Iterator[tuple[str, int]]:
    """Delete the same checkpoints where the sweep keeps them in an object store.

    Yields:
        Each object's address and size.

    Raises:
        UserError: The store does not answer.
    """
    storage = (config_values(sweep.folder).get("launch") or {}).get("storage")
    for number, names in doomed.items():
        place = place_of(storage, sweep.name, *names_of(number))
        if place is None:
            return
        from ...platform.storage.checkpoint_objects import CheckpointObjects  # it imports torch

        objects = CheckpointObjects(ObjectStore(parse(place)))
        try:
            removed = objects.remove(names, dry_run=dry_run)
        except OSError as error:
            what = f"`{sweep.name}` must be in a store that answers, but {told(error)}"
            remedy = "paceline clean again, once it does; what is gone is not missed"
            raise UserError(what, objects.store.location.plain_uri, remedy) from None
        for name, size in removed.items():
            yield objects.store.location.under(name).plain_uri, size


def _on_front(sweep: Sweep) -> list[int]:
    """Trials that no other one beats in all objectives; none where one metric decides."""
    objectives = (config_values(sweep.folder).get("sweep") or {}).get("objectives")
    if not objectives:
        return []
    modes = {sweep.rows.metric: sweep.rows.mode, **objectives}
    return [point.number for point in pareto(sweep.rows, modes) if point.is_on_front]


def _remove(
    sweep: Path, trial: str, names: Collection[str], *, dry_run: bool
) -> Iterator[tuple[str, int]]:
    """Remove checkpoints of a trial, their digests, and what a crash left of a write.

    Yields:
        Each file's name and size.
    """
    with _opened(sweep) as root, contextlib.ExitStack() as stack:
        try:
            trials = stack.enter_context(_opened("trials", root))
            folder = stack.enter_context(_opened(trial, trials))
        except OSError:  # it is not there, or a link that leads elsewhere
            return
        for file in sorted(os.listdir(folder)):
            if not _belongs(file, names):
                continue
            found = os.stat(file, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                if not dry_run:
                    os.unlink(file, dir_fd=folder)
                yield file, found.st_size


def _belongs(file: str, names: Collection[str]) -> bool:
    """Whether a file is one of these checkpoints, its digest, or any unfinished write of one."""
    unfinished = tuple(f".{name}." for name in (BEST, LATEST))
    return file in names or file.startswith((*(f"{name}." for name in names), *unfinished))


@contextlib.contextmanager
def _opened(path: str | Path, within: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _NO_LINK, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

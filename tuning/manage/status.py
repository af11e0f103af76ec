"""`paceline status`: how every run and sweep of a storage stands, told from what is on disk.

A folder that was damaged is one row of the answer like any other; it never hides the rest.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...platform.errors import UserError
from ...platform.home import is_held, read_state, runs_folder
from ..journal import JOURNAL
from ..rows import TrialRow
from ..table import eta_s
from .found import (
    Sweep,
    command,
    config_values,
    find_folder,
    folder_names,
    holder_pid,
    read_sweep,
    standing,
)

_LOSS = "val/loss"  # what decides unless a config says otherwise


@dataclass
class Standing:
    """How one run or sweep stands.

    Args:
        name: Its name.
        kind: `sweep`, `fit`, `seeds`; empty when that cannot be known.
        status: `running`, `finished`, `failed`, `killed`, `interrupted` (its process died on the
            spot), `starting` (a process holds the name and has written no state yet) or `damaged`.
        over: Trials that are over and will not go on.
        total: Trials that there will be at most.
        metric: The deciding metric.
        best: Its best value; None without one.
        best_trial: Which trial has it.
        epochs: Epochs done by all trials together; None where no journal counts them.
        began_at: Unix time of its beginning, in seconds.
        seconds: Wall time so far.
        eta_s: Seconds until it is done, while it runs and that can be told.
        checkpoint_bytes: What its checkpoints take on the disk.
        pid: Process that works on it, on whichever host that is.
        living: Its trials that are not over.
        error: What is damaged.
        remedy: The command that goes on with it.
    """

    name: str
    kind: str
    status: str
    over: int | None = None
    total: int | None = None
    metric: str = ""
    best: float | None = None
    best_trial: str | None = None
    epochs: int | None = None
    began_at: float = 0.0
    seconds: float | None = None
    eta_s: float | None = None
    checkpoint_bytes: int = 0
    pid: int | None = None
    living: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """One entry of `runs` in the answer."""
        return asdict(self)


def statuses(storage: str | None = None, name: str | None = None) -> list[Standing]:
    """How the runs and sweeps of a storage stand, the newest first.

    Args:
        storage: Folder of runs; default under the home.
        name: Only this one.

    Raises:
        UserError: No such name, or no such folder.
    """
    if name is not None:
        return [standing_of(find_folder(name, storage), storage)]
    folders = [runs_folder(storage) / name for name in folder_names(storage)]
    found = [standing_of(folder, storage) for folder in folders]
    return sorted(found, key=lambda s: s.began_at, reverse=True)


def standing_of(folder: Path, storage: str | None = None) -> Standing:
    """How the run or sweep in a folder stands; what cannot be read is told as `damaged`."""
    try:
        found = _read(folder, storage)
    except UserError as error:
        what = f"{error.what} ({error.where})" if error.where else error.what
        found = Standing(folder.name, "", "damaged", error=what, remedy=error.remedy)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        found = Standing(folder.name, "", "damaged", error=what)
    if found.status in ("interrupted", "killed") and not is_held(folder):
        found.remedy = command("resume", folder.name, storage=storage)
    found.began_at = found.began_at or _first_time(folder)
    found.checkpoint_bytes = _checkpoint_bytes(folder)
    found.pid = holder_pid(folder)
    return found


def _read(folder: Path, storage: str | None) -> Standing:
    if not (folder / "run.json").exists():
        if is_held(folder):
            return Standing(folder.name, "", "starting")
        return Standing(folder.name, "", "damaged", error="it has no run.json")
    state = read_state(folder.name, storage)
    if state.get("kind") == "sweep":
        return _of_sweep(read_sweep(folder, state))
    return _of_run(folder, state)


def _of_run(folder: Path, state: dict[str, Any]) -> Standing:
    """A single run, or the same run with several seeds: what its state says."""
    status = standing(str(state["status"]), is_held=is_held(folder))
    metric, metrics = state.get("metric", _LOSS), state.get("metrics") or {}
    seconds = time.time() - _first_time(folder) if status == "running" else state.get("seconds")
    return Standing(
        folder.name,
        str(state.get("kind", "fit")),
        status,
        metric=metric if metric in metrics else "",
        best=float(metrics[metric]) if metric in metrics else None,
        seconds=None if seconds is None else float(seconds),
    )


def _of_sweep(sweep: Sweep) -> Standing:
    rows, runs = sweep.rows, sweep.status == "running"
    best, total = rows.best(), num_planned(sweep)
    living = [row for row in rows if not row.is_over]
    over = len(rows) - len(living) - (rows.count("killed") if sweep.can_go_on else 0)
    until = time.time() if runs else _last_time(sweep)
    seconds = float(sweep.state.get("seconds", 0.0))  # of the drivers that have ended
    if sweep.status in ("running", "interrupted"):
        seconds += max(0.0, until - _driven_since(sweep))
    return Standing(
        sweep.name,
        "sweep",
        sweep.status,
        over=over,
        total=total,
        metric=rows.metric,
        best=best and best.score,
        best_trial=best and best.trial_id,
        epochs=rows.epochs,
        began_at=next((event["time"] for event in sweep.events), 0.0),
        seconds=seconds,
        eta_s=eta_s(rows, total, rows.count("running")) if runs else None,
        living=[_of_trial(row, until, runs=runs) for row in living],
    )


def num_planned(sweep: Sweep) -> int:
    """How many trials a sweep will have at most; of one that is done, how many it has."""
    if sweep.status == "finished":
        return len(sweep.rows)
    events = [event for event in sweep.events if event["event"] in ("sweep", "extend")]
    told = [event["trials"] for event in events if "trials" in event]
    with contextlib.suppress(UserError, KeyError, TypeError):
        told = told or [config_values(sweep.folder)["sweep"]["trials"]]
    return max(len(sweep.rows), *told, 0)


def _last_time(sweep: Sweep) -> float:
    return sweep.events[-1]["time"] if sweep.events else 0.0


def _driven_since(sweep: Sweep) -> float:
    """When the present or last driver began."""
    begins = [event["time"] for event in sweep.events if event["event"] in ("sweep", "resume")]
    return begins[-1] if begins else _last_time(sweep)


def _of_trial(row: TrialRow, until: float, *, runs: bool) -> dict[str, Any]:
    """A trial that is not over; in a sweep whose process died it ran until the last event."""
    begun = until if row.begun_at is None else row.begun_at
    return {
        "trial_id": row.trial_id,
        "status": row.status if runs or row.status == "pending" else "interrupted",
        "epoch": row.epoch,
        "score": row.history[-1].score if row.history else None,
        "seconds": round(row.spent + max(0.0, until - begun), 3),
        "attempt": row.attempt,
    }


def _first_time(folder: Path) -> float:
    """When a file that is written at a beginning was made, in Unix time; 0 without any."""
    for name in ("config.yaml", "run.json", JOURNAL, "lock"):
        with contextlib.suppress(OSError):
            return (folder / name).stat().st_mtime
    return 0.0


def _checkpoint_bytes(folder: Path) -> int:
    """Size of a run's checkpoints, or of those of a sweep's trials; no link is followed."""
    trials = folder / "trials"
    places = [folder]
    with contextlib.suppress(OSError), os.scandir(trials) as entries:
        places += [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False)]
    count = 0
    for place in places:
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            count += sum(_size(entry) for entry in entries if ".ckpt" in entry.name)
    return count


def _size(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(OSError):  # a sweep that runs replaces its checkpoints
        if entry.is_file(follow_symlinks=False):
            return entry.stat(follow_symlinks=False).st_size
    return 0

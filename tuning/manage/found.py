"""Sweeps and runs found by their name, trials by their number, from what is on disk alone."""

from __future__ import annotations

import contextlib
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...platform.errors import UserError, must, unknown
from ...platform.home import is_held, read_state, run_folder, runs_folder
from ..journal import JOURNAL, read_events
from ..rows import Rows, TrialRow

_MARKS = ("run.json", "lock", JOURNAL)  # a folder with none of them is not ours


@dataclass(frozen=True)
class Sweep:
    """A sweep as it stands on disk.

    Args:
        name: Its name.
        folder: Its folder.
        state: What its `run.json` says.
        events: Its journal.
        rows: Its trials, folded from these events.
        is_held: Whether a living process works on it.
    """

    name: str
    folder: Path
    state: dict[str, Any]
    events: list[dict[str, Any]]
    rows: Rows
    is_held: bool

    @property
    def status(self) -> str:
        """How it stands."""
        return standing(str(self.state["status"]), is_held=self.is_held)

    @property
    def can_go_on(self) -> bool:
        """Whether trials of it may still train: it runs, or `paceline resume` would take it up."""
        return self.is_held or self.status != "finished"

    @property
    def header(self) -> dict[str, Any]:
        """What the journal's first line says of the sweep; empty when it does not."""
        return self.events[0] if self.events and self.events[0]["event"] == "sweep" else {}


def standing(status: str, *, is_held: bool) -> str:
    """A state's status as it is now.

    A process that was killed on the spot left `running` behind: that is `interrupted`.
    """
    return "interrupted" if status == "running" and not is_held else status


def holder_pid(folder: Path) -> int | None:
    """The process that works on a folder, of whichever host; None: nobody, or it is not told."""
    if not is_held(folder):
        return None
    with contextlib.suppress(OSError, ValueError):
        pid = int((folder / "lock").read_text())
        return pid if 0 < pid < 2**31 else None
    return None


def command(verb: str, *words: str, storage: str | None = None) -> str:
    """A command line, to be typed as it stands."""
    return shlex.join(["paceline", verb, *words, *(["--storage", storage] if storage else [])])


def folder_names(storage: str | None = None) -> list[str]:
    """Every folder that a run or a sweep left, whatever became of its state; sorted.

    Raises:
        UserError: `--storage` is no folder.
    """
    runs = runs_folder(storage)
    if not runs.is_dir():
        if storage:
            raise UserError(must("--storage", "a folder that exists", str(runs)), "--storage")
        return []
    with os.scandir(runs) as entries:
        folders = [entry for entry in entries if entry.is_dir()]
    return sorted(f.name for f in folders if any(os.path.lexists(f"{f.path}/{m}") for m in _MARKS))


def find_folder(name: str, storage: str | None = None) -> Path:
    """The folder of a name, damaged or not.

    Raises:
        UserError: No such name, with the nearest ones.
    """
    names = folder_names(storage)
    if name not in names:
        raise unknown("NAME", name, names, str(runs_folder(storage)))
    return run_folder(name, storage)


def open_sweep(name: str, storage: str | None = None) -> Sweep:
    """A sweep by its name.

    Raises:
        UserError: No such name, a single run, or a state or a journal that was damaged.
    """
    folder = find_folder(name, storage)
    state = read_state(name, storage)
    if state.get("kind") != "sweep":
        kind = state.get("kind", "single run")
        raise UserError(
            must("NAME", "a sweep", f"{name} ({kind})"), str(folder), f"paceline show {name}"
        )
    return read_sweep(folder, state)


def read_sweep(folder: Path, state: dict[str, Any]) -> Sweep:
    """The sweep of a folder whose state was read.

    Raises:
        UserError: The journal is missing, or it or the state was damaged.
    """
    if not (folder / JOURNAL).is_file():
        what = f"`{JOURNAL}` must be a sweep's journal, but is missing."
        raise UserError(what, str(folder), "put a copy of the file back")
    held = is_held(folder)  # before the journal: what ends in between is then told as running
    events = read_events(folder)
    try:
        rows = Rows(state["metric"], state["mode"])
        for event in events:
            rows.apply(event)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"`{JOURNAL}` and `run.json` must be of this version, but are not."
        raise UserError(what, str(folder), f"{type(error).__name__}: {error}") from None
    return Sweep(folder.name, folder, state, events, rows, held)


def find_trial(rows: Rows, word: str) -> TrialRow:
    """A trial by its number (`7`, `007`) or as `best`.

    Raises:
        UserError: There is no such trial, with those that there are, or none is the best yet.
    """
    if word == "best":
        best = rows.best()
        if best is None:
            told = f"none of {len(rows)} has a finite {rows.metric}"
            raise UserError(f"`TRIAL` must be a trial that there is, but {told}.", "TRIAL")
        return best
    number = int(word) if word.isascii() and word.isdigit() else -1
    if number not in rows.by_number:
        there = [row.trial_id for row in rows]
        told = f"there are {there[0]} to {there[-1]}, and best" if there else "there are none yet"
        raise UserError(must("TRIAL", "the number of a trial, or best", word), "TRIAL", told)
    return rows.by_number[number]


def by_score(rows: Rows) -> list[TrialRow]:
    """Every trial with a finite score, whatever became of it, the best first, then the earlier."""
    sign = 1 if rows.mode == "min" else -1
    scored = [(sign * row.score, row.number, row) for row in rows if row.score is not None]
    return [row for *_, row in sorted(scored, key=lambda entry: entry[:2])]


def config_values(folder: Path) -> dict[str, Any]:
    """The config that a run or a sweep was started with, as plain data.

    Raises:
        UserError: It is missing or damaged.
    """
    from ...platform.configuration.file import read

    return read(folder / "config.yaml")[0]

"""Which trials are compared with each other, and who of them is best. Pure."""

from __future__ import annotations

import math

from ..rows import Rows, TrialRow

FATES = {
    "completed": "trained out",
    "stopped": "stopped early",
    "diverged": "diverged",
    "failed": "failed",
    "killed": "killed",
    "running": "running",
    "pending": "waiting",
}


def fate(row: TrialRow) -> str:
    """What became of a trial, a key of `FATES`; one that a budget ended counts as completed."""
    if row.status != "finished":
        return row.status
    if row.stop_reason != "early_stopped":
        return "completed"
    return "stopped" if row.diverged_since is None else "diverged"


def count_fates(rows: Rows) -> dict[str, int]:
    """How many trials had each fate, all of them named."""
    fates = [fate(row) for row in rows]
    return {name: fates.count(name) for name in FATES}


def ended(rows: Rows) -> list[TrialRow]:
    """Trials that say something about their configuration: they trained, and nothing broke.

    One that was stopped early stands with the best score that it had come to; one without any
    finite score diverged.
    """
    return [row for row in rows if row.status == "finished" and row.history]


def ranked(rows: Rows) -> list[TrialRow]:
    """The ended trials, the best first, those that diverged last."""
    sign = 1 if rows.mode == "min" else -1
    return sorted(ended(rows), key=lambda row: math.inf if row.score is None else sign * row.score)


def best_quarter(rows: Rows) -> list[TrialRow]:
    """The best quarter of the ended trials, rounded up; none of them diverged."""
    order = ranked(rows)
    return [row for row in order[: math.ceil(len(order) / 4)] if row.score is not None]

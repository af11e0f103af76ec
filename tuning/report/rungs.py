"""What early stopping did: how many trials came to each rung, and what that saved. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ..rows import Rows, TrialRow
from .ranking import ended, fate

MAX_SHOWN = 12


@dataclass(frozen=True)
class RungCount:
    """Trials at one rung, or at several that lie beside each other.

    Args:
        at: The first rung.
        until: The last; the same unless rungs were put together.
        reached: Trials that came to the first.
        stopped: Trials that ended at one of them.
        cutoff: Median of the scores that would have gone on there; None without a rival.
    """

    at: float
    until: float
    reached: int
    stopped: int
    cutoff: float | None


@dataclass(frozen=True)
class Saving:
    """What the ended trials have spent on the time axis, against running all to its end.

    Args:
        spent: Spent by them.
        full: Their number times the axis' end.
        stopped: How many were stopped before the end.
    """

    spent: float
    full: float
    stopped: int

    @property
    def share(self) -> float:
        """The share that was saved, from 0 to 1."""
        return max(0.0, 1 - self.spent / self.full) if self.full else 0.0


def rungs_of(rows: Rows, rungs: Sequence[float]) -> tuple[float, ...]:
    """The rungs given; without any, those that the verdicts name."""
    return tuple(sorted(rungs or {verdict.rung for row in rows for verdict in row.verdicts}))


def height(row: TrialRow, rungs: Sequence[float]) -> int:
    """How many rungs a trial has come to."""
    return sum(rung <= row.at for rung in rungs)


def stage(row: TrialRow, rungs: Sequence[float]) -> int:
    """How far a trial came: the rungs that it reached, and one more when it was trained out."""
    return height(row, rungs) + (fate(row) == "completed")


def stage_names(rungs: Sequence[float], axis: str) -> list[str]:
    """What each stage is called, from 0 to the number of rungs (one at least) and one more."""
    names = [f"not to {axis} {rungs[0]:g}", *[f"to {axis} {rung:g}" for rung in rungs]]
    return [*names, "to the end"]


def rung_counts(rows: Rows, rungs: Sequence[float]) -> list[RungCount]:
    """How many trials came to each rung and how many ended there.

    More than `MAX_SHOWN` rungs, as the median rule has, are put together evenly.

    Args:
        rows: The trials.
        rungs: From `rungs_of`.
    """
    size = -(-len(rungs) // MAX_SHOWN)  # rounded up
    return [
        _count(rows, rungs[start : start + size]) for start in range(0, len(rungs), max(1, size))
    ]


def _count(rows: Rows, rungs: Sequence[float]) -> RungCount:
    verdicts = [v for row in rows for v in row.verdicts if v.rung in rungs]
    cutoffs = [v.cutoff for v in verdicts if v.cutoff is not None]
    return RungCount(
        at=rungs[0],
        until=rungs[-1],
        reached=sum(row.at >= rungs[0] for row in rows),
        stopped=sum(v.stops for v in verdicts),
        cutoff=statistics.median(cutoffs) if cutoffs else None,
    )


def saving(rows: Rows, horizon: float | None) -> Saving | None:
    """What early stopping saved; None when the horizon is unknown or no trial has ended.

    Failed, killed and living trials are left out: nobody knows how far they would have come.
    """
    over = ended(rows)
    if not horizon or not over:
        return None
    spent = sum(min(row.at, horizon) for row in over)
    stopped = sum(fate(row) in ("stopped", "diverged") for row in over)
    return Saving(spent, horizon * len(over), stopped)

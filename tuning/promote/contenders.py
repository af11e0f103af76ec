"""Which two configurations of a sweep are worth training again. Pure.

The score of a trial is one number of one seed, and that of the best of many is flattered by the
choice; so the runner-up may well be the better of the two.
"""

from __future__ import annotations

from ..rows import Rows, TrialRow


def contenders(rows: Rows) -> list[TrialRow]:
    """The best finished trial, and the best that has another configuration.

    A trial that was stopped early has finished too: its configuration is trained to the end now.

    Args:
        rows: The trials.

    Returns:
        The winner and the runner-up; one where all finished trials have the same configuration,
        none where no finished trial has a score.
    """
    sign = 1 if rows.mode == "min" else -1
    scored = [row for row in rows if row.status == "finished" and row.score is not None]
    ordered = sorted(scored, key=lambda row: (sign * (row.score or 0.0), row.number))
    if not ordered:
        return []
    best = ordered[0]
    others = (row for row in ordered if values_of(row) != values_of(best))
    return [best, *([other] if (other := next(others, None)) else [])]


def values_of(row: TrialRow) -> dict[str, object]:
    """The knob values with which a trial had its best score."""
    return row.best_values or row.values

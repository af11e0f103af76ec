"""Who copied whom, at which step, and what changed, as plain data for whoever asks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rows import Rows, TrialRow
from ..search.space import Space


def copy_of(row: TrialRow, space: Space) -> dict[str, Any] | None:
    """What an actor needs to make the checkpoint of a trial's last copy; None: it is no copy."""
    if not row.copies:
        return None
    last = row.copies[-1]
    return {
        "donor": last.donor,
        "rung": last.rung,
        "at": last.at,
        "count": len(row.copies),
        "donated": space.assignments(last.donated),
        "best_score": row.score,
        "best_metrics": row.metrics if row.score is not None else {},
    }


def curves_of(values: Mapping[str, Any]) -> dict[str, float]:
    """The knobs whose values can be drawn over the steps, as `hp/NAME`."""
    kinds = (int, float)
    numbers = {n: v for n, v in values.items() if isinstance(v, kinds) and not isinstance(v, bool)}
    return {f"hp/{name}": float(value) for name, value in numbers.items()}


def lineage(rows: Rows) -> list[dict[str, Any]]:
    """Every copy of a sweep in the order of the rungs, as plain data.

    Returns:
        Mappings of `trial`, `run_id`, `rung`, `epoch`, `step` (where the trial stood), `donor`,
        `donor_run_id`, `donor_step`, and `changed`: knob -> [the donor's value, the copy's].
    """
    found = [
        {
            "trial": row.trial_id,
            "run_id": row.run_id,
            "rung": copy.rung,
            "epoch": copy.epoch,
            "step": copy.own_step,
            "donor": rows.by_number[copy.donor].trial_id,
            "donor_run_id": rows.by_number[copy.donor].run_id,
            "donor_step": copy.step,
            "changed": {name: list(pair) for name, pair in copy.changes.items()},
        }
        for row in rows
        for copy in row.copies
    ]
    return sorted(found, key=lambda entry: (entry["rung"], entry["trial"]))


def ancestry(row: TrialRow, rows: Rows) -> list[tuple[float, TrialRow]]:
    """Whose training a trial's weights went through, as `(from, trial)`, the first ones first."""
    found: list[tuple[float, TrialRow]] = []
    until = float("inf")
    while True:
        last = next((copy for copy in reversed(row.copies) if copy.rung < until), None)
        if last is None:
            return [(0.0, row), *reversed(found)]
        found.append((last.rung, row))
        row, until = rows.by_number[last.donor], last.rung


def schedule(row: TrialRow, rows: Rows, knob: str) -> list[tuple[float, Any]]:
    """The values that a knob had while a trial's weights were trained, as `(from, value)`.

    A stretch in which the knob did not exist has None.
    """
    found = []
    for start, member in ancestry(row, rows):
        changes = [copy.rung for copy in member.copies]
        end = next((rung for rung in changes if rung > start), float("inf"))
        found.append((start, member.values_at(end).get(knob)))
    return found

from __future__ import annotations

import math

from paceline.tuning.report.ranking import best_quarter, count_fates, ended, fate, ranked
from paceline.tuning.rows import Rows


def rows_of(*scores: float, mode: str = "min") -> Rows:
    """Finished trials of one validation each."""
    rows = Rows("val/loss", mode)
    for number, score in enumerate(scores):
        rows.apply({"event": "begin", "number": number, "values": {}})
        report = {"epoch": 1, "metrics": {"val/loss": score}}
        rows.apply({"event": "report", "number": number, **report})
        end = {"status": "finished", "stop_reason": "completed", "time": 1.0}
        rows.apply({"event": "end", "number": number, **end})
    return rows


def numbers(rows: list) -> list[int]:
    return [row.number for row in rows]


def test_trials_are_ranked_by_the_mode_and_those_that_diverged_are_last():
    scores = [0.3, math.nan, 0.1, 0.2]
    assert numbers(ranked(rows_of(*scores))) == [2, 3, 0, 1]
    assert numbers(ranked(rows_of(*scores, mode="max"))) == [0, 3, 2, 1]


def test_the_best_quarter_is_rounded_up_and_none_of_it_diverged():
    assert numbers(best_quarter(rows_of(0.5, 0.4, 0.3, 0.2, 0.1))) == [4, 3]
    assert numbers(best_quarter(rows_of(math.nan, math.nan, 0.3, math.nan))) == [2]
    assert best_quarter(rows_of(math.nan)) == []


def test_failed_killed_and_living_trials_are_not_compared():
    rows = rows_of(0.1, 0.2, 0.3, 0.4)
    for number, status in enumerate(("failed", "killed", "running")):
        rows.by_number[number].status = status  # type: ignore[assignment]
    assert numbers(ended(rows)) == [3]


def test_a_fate_tells_a_stop_from_a_divergence_and_a_budget_from_both():
    rows = rows_of(0.1, math.nan, 0.3)
    for number, reason in enumerate(("early_stopped", "early_stopped", "budget")):
        rows.by_number[number].stop_reason = reason
    assert [fate(row) for row in rows] == ["stopped", "diverged", "completed"]
    rows.by_number[2].status = "failed"
    assert fate(rows.by_number[2]) == "failed"


def test_every_fate_is_counted_by_name():
    counts = count_fates(rows_of(0.1, 0.2))
    assert counts["completed"] == 2
    assert counts["failed"] == counts["pending"] == 0

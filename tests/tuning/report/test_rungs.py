from __future__ import annotations

import pytest
from paceline.tuning.report.rungs import (
    MAX_SHOWN,
    rung_counts,
    rungs_of,
    saving,
    stage,
    stage_names,
)
from paceline.tuning.rows import Rows


def rows_of(*lengths: int, horizon: int = 9) -> Rows:
    """Trials that ran so many epochs, judged at 1 and 3, stopped where they end before the end."""
    rows = Rows("val/loss", "min")
    for number, length in enumerate(lengths):
        rows.apply({"event": "begin", "number": number, "values": {}})
        for epoch in range(1, length + 1):
            metrics = {"val/loss": float(number)}
            rows.apply({"event": "report", "number": number, "epoch": epoch, "metrics": metrics})
            if epoch in (1, 3):
                verdict = {"rule": "asha", "value": 1.0, "rank": 1, "of": 2}
                verdict |= {"cutoff": 0.1 * epoch, "stops": epoch == length, "rung": epoch}
                rows.apply({"event": "verdict", "number": number, **verdict})
        reason = "completed" if length == horizon else "early_stopped"
        end = {"status": "finished", "stop_reason": reason, "time": 1.0}
        rows.apply({"event": "end", "number": number, **end})
    return rows


def test_each_rung_counts_who_came_and_who_ended_there():
    counts = rung_counts(rows_of(1, 1, 3, 9), (1, 3))
    assert [(c.at, c.reached, c.stopped) for c in counts] == [(1, 4, 2), (3, 2, 1)]
    assert [c.cutoff for c in counts] == [pytest.approx(0.1), pytest.approx(0.3)]


def test_rungs_are_those_of_the_verdicts_when_none_are_given():
    rows = rows_of(1, 3)
    assert rungs_of(rows, ()) == (1, 3)
    assert rungs_of(rows, (2.0, 1.0)) == (1.0, 2.0)
    assert rung_counts(rows_of(), rungs_of(rows_of(), ())) == []


def test_many_rungs_are_put_together_and_lose_no_stop():
    rungs = tuple(float(i) for i in range(1, 100))
    counts = rung_counts(rows_of(1, 3, 3), rungs)
    assert len(counts) <= MAX_SHOWN
    assert sum(c.stopped for c in counts) == 3
    assert (counts[0].at, counts[0].until, counts[-1].until) == (1.0, 9.0, 99.0)


def test_the_saving_is_what_the_ended_trials_did_not_run():
    rows = rows_of(1, 1, 3, 9)
    rows.apply({"event": "begin", "number": 4, "values": {}})  # has not ended: nobody knows
    saved = saving(rows, 9)
    assert saved is not None
    assert (saved.spent, saved.full, saved.stopped) == (14, 36, 3)
    assert saved.share == pytest.approx(22 / 36)


def test_a_failed_trial_saves_nothing():
    rows = rows_of(1, 9)
    rows.by_number[0].status = "failed"
    assert saving(rows, 9).share == 0  # type: ignore[union-attr]


def test_without_a_horizon_or_an_ended_trial_there_is_no_saving():
    assert saving(rows_of(1), None) is None
    assert saving(rows_of(), 9) is None


def test_a_stage_is_the_rungs_reached_and_the_end():
    rows = rows_of(1, 3, 9)
    stages = [stage(row, (1, 3)) for row in rows]
    assert stages == [1, 2, 3]
    assert [stage_names((1, 3), "epoch")[i] for i in stages] == [
        "to epoch 1",
        "to epoch 3",
        "to the end",
    ]

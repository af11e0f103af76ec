from __future__ import annotations

import math

import pytest
from paceline.tuning.rows import Rows, is_better


def rows_of(*scores: list[float], mode: str = "min") -> Rows:
    rows = Rows("val/loss", mode)
    for number, history in enumerate(scores):
        rows.apply({"event": "begin", "number": number, "values": {"x": number}, "seed": 1})
        for epoch, value in enumerate(history, 1):
            metrics = {"val/loss": value, "other": epoch}
            rows.apply({"event": "report", "number": number, "epoch": epoch, "metrics": metrics})
    return rows


def test_the_best_trial_is_the_smallest_or_the_largest_by_mode():
    assert rows_of([0.3], [0.1], [0.2]).best().number == 1
    assert rows_of([0.3], [0.1], [0.2], mode="max").best().number == 0


def test_the_earliest_of_equal_trials_is_the_best():
    assert rows_of([0.1], [0.1]).best().number == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_finite_number_is_never_the_best(bad):
    assert rows_of([bad], [0.9]).best().number == 1
    assert rows_of([bad]).best() is None
    assert rows_of([bad], [0.9], mode="max").best().number == 1


def test_a_trial_keeps_the_metrics_of_its_best_epoch():
    row = rows_of([0.5, 0.2, 0.4]).by_number[0]
    assert (row.score, row.best_epoch, row.epoch) == (0.2, 2, 3)
    assert row.metrics == {"val/loss": 0.2, "other": 2}


def test_a_trial_without_the_metric_keeps_its_last_metrics():
    rows = rows_of([])
    rows.apply({"event": "report", "number": 0, "epoch": 1, "metrics": {"other": 3}})
    assert rows.by_number[0].metrics == {"other": 3}
    assert rows.best() is None


def test_epochs_add_up_over_trials():
    assert rows_of([1.0, 1.0], [1.0]).epochs == 3


def test_better_needs_a_strict_improvement():
    assert is_better(1.0, None, "min")
    assert not is_better(1.0, 1.0, "min")
    assert is_better(0.9, 1.0, "min")
    assert is_better(1.1, 1.0, "max")


def test_an_event_of_a_later_version_changes_nothing():
    rows = rows_of([0.5])
    rows.apply({"event": "celebrate", "number": 0})
    rows.apply({"event": "celebrate"})
    assert rows.by_number[0].score == 0.5


def test_a_report_that_comes_twice_counts_once():
    rows = rows_of([0.5, 0.4])
    for epoch in (1, 2):
        metrics = {"val/loss": 0.01}
        rows.apply({"event": "report", "number": 0, "epoch": epoch, "metrics": metrics})
    (row,) = rows
    assert [report.epoch for report in row.history] == [1, 2]
    assert (row.score, row.epoch, rows.num_reports) == (0.4, 2, 2)


def test_after_an_interruption_what_had_not_ended_by_itself_is_pending_and_its_time_counted():
    rows = rows_of([0.5], [0.4], [0.3])
    for number in range(3):
        rows.apply({"event": "start", "number": number, "time": 100.0})
    ends = [("finished", "completed"), ("killed", None)]
    for number, (status, reason) in enumerate(ends):
        end = {"event": "end", "number": number, "status": status, "stop_reason": reason}
        rows.apply({**end, "time": 107.0})
    rows.apply({"event": "resume", "time": 500.0})
    done, killed, cut = rows
    assert (done.status, killed.status, cut.status) == ("finished", "pending", "pending")
    assert (done.seconds, killed.seconds, cut.seconds) == (7.0, 7.0, 7.0)
    rows.apply({"event": "start", "number": 1, "time": 500.0})
    rows.apply({"event": "end", "number": 1, "status": "finished", "time": 503.0})
    assert (killed.attempt, killed.seconds, killed.best_epoch) == (2, 10.0, 1)


def test_a_trial_that_was_stopped_and_had_no_end_finishes_after_an_interruption():
    rows = rows_of([0.5], [0.6])
    verdict = {"rule": "asha", "rung": 1.0, "value": 0.5, "cutoff": 0.4, "rank": 2, "of": 2}
    for row in rows:
        rows.apply({"event": "start", "number": row.number, "time": 100.0})
        rows.apply({"event": "verdict", "number": row.number, "stops": row.number == 1, **verdict})
    rows.apply({"event": "resume", "time": 500.0})
    assert [row.is_finishing for row in rows] == [False, True]


def test_a_trial_s_first_report_behind_a_rung_is_what_it_is_judged_by():
    rows = Rows("val/loss", "min")
    rows.apply({"event": "begin", "number": 0, "values": {}})
    for epoch, at in enumerate((1000, 2500, 3000), 1):
        metrics = {"val/loss": at / 1000}
        report = {"event": "report", "number": 0, "epoch": epoch, "at": at, "metrics": metrics}
        rows.apply(report)
    (row,) = rows
    assert row.report_at(2000).score == 2.5
    assert row.report_at(3000).score == 3.0
    assert row.report_at(3001) is None
    assert row.at == 3000


def test_an_objective_is_a_metric_of_the_best_epoch_a_fact_or_the_seconds():
    rows = rows_of([0.5, 0.9])
    rows.apply({"event": "start", "number": 0, "time": 1.0})
    (row,) = rows
    assert row.value_of("seconds") is None
    end = {"event": "end", "number": 0, "status": "finished", "time": 3.0}
    rows.apply({**end, "facts": {"num_parameters": 12}})
    assert [row.value_of(n) for n in ("val/loss", "num_parameters", "seconds")] == [0.5, 12, 2.0]
    assert row.value_of("val/nothing") is None

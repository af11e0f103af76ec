from __future__ import annotations

import math

import pytest
from paceline.tuning.report.progress import improvements, spent, when_done
from paceline.tuning.rows import Rows


def rows_of(*reports: tuple[int, int, float, float], mode: str = "min") -> Rows:
    """Trials from (trial, epoch, score, time), in the order in which they came."""
    rows = Rows("val/loss", mode)
    for number in sorted({number for number, *_ in reports}):
        rows.apply({"event": "begin", "number": number, "values": {}})
        rows.apply({"event": "start", "number": number, "time": 100.0 + number})
    for number, epoch, score, time in reports:
        report = {"epoch": epoch, "time": time, "metrics": {"val/loss": score}}
        rows.apply({"event": "report", "number": number, **report})
    return rows


def test_the_best_so_far_only_improves_whoever_it_is_and_counts_all_epochs():
    rows = rows_of((0, 1, 0.9, 101), (1, 1, 0.5, 102), (0, 2, 0.7, 103), (1, 2, 0.4, 104))
    steps = improvements(rows)
    assert [(s.number, s.score, s.epochs) for s in steps] == [(0, 0.9, 1), (1, 0.5, 2), (1, 0.4, 4)]
    assert [s.seconds for s in steps] == [1.0, 2.0, 4.0]


def test_the_best_so_far_grows_under_max():
    steps = improvements(rows_of((0, 1, 0.1, 101), (0, 2, 0.3, 102), (0, 3, 0.2, 103), mode="max"))
    assert [s.score for s in steps] == [0.1, 0.3]


def test_scores_that_are_no_finite_numbers_improve_nothing():
    steps = improvements(rows_of((0, 1, math.nan, 101), (0, 2, -math.inf, 102), (0, 3, 0.5, 103)))
    assert [(s.score, s.epochs) for s in steps] == [(0.5, 3)]


def test_epochs_between_two_validations_are_counted():
    rows = rows_of((0, 5, 0.9, 101), (0, 10, 0.5, 102))
    assert [s.epochs for s in improvements(rows)] == [5, 10]


def test_a_trial_is_done_at_its_best_validation_and_not_at_its_last():
    rows = rows_of((0, 1, 0.9, 101), (0, 2, 0.5, 105), (1, 1, 0.8, 106), (0, 3, 0.6, 107))
    done = when_done(rows)
    assert (done[0].epochs, done[0].seconds) == (2, 5.0)
    assert (done[1].epochs, done[1].seconds) == (3, 6.0)
    assert spent(rows) == (4, 7.0)


def test_a_trial_that_began_anew_moves_the_sweep_s_start_no_later():
    rows = rows_of((0, 1, 0.9, 101))
    rows.apply({"event": "resume"})
    rows.apply({"event": "start", "number": 0, "time": 500.0})
    rows.apply(
        {"event": "report", "number": 0, "epoch": 2, "time": 501, "metrics": {"val/loss": 1}}
    )
    assert spent(rows).seconds == pytest.approx(400)


def test_without_a_validation_nothing_was_spent():
    assert improvements(rows_of()) == []
    assert spent(rows_of()) == (0, 0.0)

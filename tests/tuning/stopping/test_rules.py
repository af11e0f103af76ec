"""The stopping rules against tables written out by hand and against the papers' counts."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from paceline.platform.configuration.options import Sweep
from paceline.tuning.rows import Rows, TrialRow
from paceline.tuning.stopping.rules import (
    Halving,
    Hyperband,
    Median,
    bracket_cycle,
    geometric,
    make_rule,
)


def rows_of(*curves: list[float], mode: str = "min") -> list[TrialRow]:
    """A row for each curve, whose n-th value is its score after epoch n."""
    rows = Rows("m", mode)
    for number, curve in enumerate(curves):
        rows.apply({"event": "begin", "number": number, "values": {}})
        for epoch, value in enumerate(curve, 1):
            report = {"event": "report", "number": number, "epoch": epoch, "metrics": {"m": value}}
            rows.apply(report)
    return [*rows]


@pytest.mark.parametrize(
    ("grace", "factor", "horizon", "expected"),
    [
        (1, 3, 30, [1, 3, 9, 27]),
        (1, 3, 27, [1, 3, 9]),
        (1, 3, 28, [1, 3, 9, 27]),
        (2, 4, 30, [2, 8]),
        (5, 2, 5, []),
        (5, 2, 6, [5]),
        (1000, 3, 50_000, [1000, 3000, 9000, 27_000]),
    ],
)
def test_rungs_stand_below_the_horizon(grace, factor, horizon, expected):
    assert geometric(grace, factor, horizon) == expected
    assert Halving(grace, factor, horizon, "min").rungs(7) == expected


@pytest.mark.parametrize(
    ("rivals", "value", "stops", "rank", "cutoff"),
    [
        ([], 9.0, False, 1, None),  # the first always goes on
        ([1.0], 2.0, True, 2, 1.0),  # one of two
        ([1.0], 0.5, False, 1, 1.0),
        ([1.0, 2.0], 1.5, True, 2, 1.0),  # one of three
        ([1.0, 2.0, 3.0], 1.5, False, 2, 2.0),  # two of four
        ([1.0, 2.0, 3.0], 2.5, True, 3, 2.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 1.5, False, 2, 2.0),  # two of six
        ([1.0, 2.0, 3.0, 4.0, 5.0], 2.5, True, 3, 2.0),
        ([1.0], 1.0, False, 1, 1.0),  # equals go on together
    ],
)
def test_halving_lets_the_best_third_go_on(rivals, value, stops, rank, cutoff):
    row, *others = rows_of([value], *([r] for r in rivals))
    verdict = Halving(1, 3, 9, "min").judge(row, 1, others)
    assert (verdict.stops, verdict.rank, verdict.cutoff) == (stops, rank, cutoff)
    assert (verdict.value, verdict.of, verdict.rung) == (value, len(rivals) + 1, 1)


def test_halving_of_a_metric_that_grows_keeps_the_large():
    row, other = rows_of([0.9], [0.5], mode="max")
    assert not Halving(1, 2, 4, "max").judge(row, 1, [other]).stops
    assert Halving(1, 2, 4, "max").judge(other, 1, [row]).stops


def test_halving_compares_the_scores_at_the_rung_and_not_later_ones():
    row, other = rows_of([5.0, 5.0, 2.0], [9.0, 9.0, 3.0, 0.1])
    assert not Halving(3, 3, 9, "min").judge(row, 3, [other]).stops


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_no_number_stops_and_is_no_hurdle(bad):
    row, other = rows_of([bad], [3.0])
    assert Halving(1, 3, 9, "min").judge(row, 1, []).stops
    assert not Halving(1, 3, 9, "min").judge(other, 1, [row]).stops


def test_a_round_of_hyperband_starts_as_many_trials_in_each_bracket_as_the_paper():
    """Li et al. 2018, algorithm 1, line 3: R = 81, eta = 3 gives ceil(5 * 3^s / (s + 1))."""
    counts = Counter(bracket_cycle(5, 3))
    assert [counts[b] for b in range(5)] == [81, 34, 15, 8, 5]


def test_hyperband_s_brackets_begin_later_and_the_last_judges_nobody():
    rule = Hyperband(1, 3, 27, "min")
    by_bracket = {rule.bracket(number): rule.rungs(number) for number in range(60)}
    assert by_bracket == {0: [1, 3, 9], 1: [3, 9], 2: [9], 3: []}


def test_hyperband_compares_within_a_bracket():
    rule = Hyperband(1, 3, 27, "min")
    for a in range(20):
        for b in range(20):
            assert rule.are_rivals(a, b) == (rule.bracket(a) == rule.bracket(b))


def test_every_bracket_comes_early_in_a_round():
    first = {b: bracket_cycle(4, 3).index(b) for b in range(4)}
    assert first[0] == 0
    assert first[3] < 12


def test_the_median_of_running_means_is_the_hurdle_of_the_best_so_far():
    """Means after two epochs: 2, 3, 4; their median is 3."""
    others = rows_of([1.0, 3.0], [2.0, 4.0], [3.0, 5.0])
    worse, better = rows_of([9.0, 3.5], [9.0, 2.9])
    rule = Median(1, 10, "min")
    assert rule.judge(worse, 2, others).stops
    assert rule.judge(worse, 2, others).cutoff == 3.0
    assert not rule.judge(better, 2, others).stops


def test_the_median_needs_three_others():
    others = rows_of([1.0], [1.0])
    (row,) = rows_of([9.0])
    assert not Median(1, 10, "min").judge(row, 1, others).stops
    assert Median(1, 10, "min").judge(row, 1, rows_of([1.0], [1.0], [1.0])).stops


def test_the_median_is_asked_at_every_step_of_the_axis_but_the_last():
    assert Median(1, 4, "min").rungs(0) == [1, 2, 3]
    assert Median(100, 350, "min").rungs(0) == [100, 200, 300]


@pytest.mark.parametrize(
    ("scheduler", "kind"), [("asha", Halving), ("hyperband", Hyperband), ("median", Median)]
)
def test_a_config_names_its_rule(scheduler, kind):
    assert isinstance(make_rule(Sweep(scheduler=scheduler), 30.0), kind)


def test_nothing_is_stopped_by_none_or_where_the_grace_reaches_the_end():
    assert make_rule(Sweep(scheduler="none"), 30.0) is None
    assert make_rule(Sweep(grace=30), 30.0) is None
    assert make_rule(Sweep(), None) is not None


@pytest.mark.parametrize(
    ("horizon", "grace", "rungs"),
    [
        (80.0, None, [9, 27]),
        (27.0, None, [3, 9]),
        (10.0, None, [1, 3, 9]),
        (54_000.0, None, [6000, 18_000]),
        (80.0, 1, [1, 3, 9, 27]),
        (None, None, [1, 3, 9, 27, 81, 243, 729]),
    ],
)
def test_the_first_rung_is_in_proportion_to_the_run_unless_it_is_given(horizon, grace, rungs):
    rule = make_rule(Sweep(grace=grace), horizon)
    assert rule is not None
    assert rule.rungs(0) == rungs

from __future__ import annotations

import math

import pytest
from paceline.tuning.report.scales import (
    Numbers,
    Options,
    knob_axes,
    padded,
    score_axis,
    spanning,
    tick_text,
    time_unit,
)
from paceline.tuning.rows import Rows


def rows_of(*values: dict) -> Rows:
    rows = Rows("val/loss", "min")
    for number, given in enumerate(values):
        rows.apply({"event": "begin", "number": number, "values": given})
    return rows


def test_a_place_goes_from_0_to_1_evenly_or_by_decades():
    assert Numbers(2, 6).place(3) == pytest.approx(0.25)
    assert Numbers(1e-4, 1e-2, is_log=True).place(1e-3) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [None, "adam", True, math.nan, math.inf, [1]])
def test_what_is_no_number_has_no_place_among_numbers(value):
    assert Numbers(0, 1).place(value) is None


def test_zero_has_no_place_on_a_logarithmic_axis():
    assert Numbers(0.1, 1, is_log=True).place(0) is None


def test_options_share_the_axis_and_1_true_and_1_point_0_are_three():
    axis = Options((1, True, 1.0, {"a": [1]}))
    assert [axis.place(v) for v in (1, True, 1.0, {"a": [1]})] == [0.125, 0.375, 0.625, 0.875]
    assert axis.place("1") is None


def test_a_knob_s_axis_follows_its_distribution(space_of):
    rows = rows_of({"learning_rate": 1e-3, "dropout": 0.1, "layer_size": [32], "batch_size": 64})
    axes = knob_axes(rows, space_of())
    assert axes["learning_rate"] == Numbers(3e-5, 3e-3, is_log=True)
    assert axes["dropout"] == Numbers(0.0, 0.5)
    assert axes["batch_size"] == Options((16, 32, 64, 128))
    assert list(axes) == ["learning_rate", "layer_size", "batch_size", "dropout"]


def test_values_outside_the_space_widen_the_axis(space_of):
    rows = rows_of({"learning_rate": 0.1, "dropout": 0.2, "batch_size": 24}, {"unknown": "x"})
    axes = knob_axes(rows, space_of())
    assert axes["learning_rate"] == Numbers(3e-5, 0.1, is_log=True)
    assert axes["batch_size"] == Options((16, 32, 64, 128, 24))
    assert axes["unknown"] == Options(("x",))


def test_without_a_space_the_values_make_the_axis():
    axes = knob_axes(rows_of({"a": 1, "b": "x", "c": 1}, {"a": 100, "b": 2, "c": 1}), None)
    assert axes["a"] == Numbers(1, 100, is_log=True)
    assert axes["b"] == Options(("x", 2)) or axes["b"] == Options((2, "x"))
    assert axes["c"].low < 1 < axes["c"].high  # type: ignore[union-attr]


def test_a_diverging_score_does_not_squeeze_the_others():
    scores = [0.5 + 0.01 * i for i in range(60)] + [1e6, math.inf, math.nan]
    assert score_axis(scores, "min").high < 2
    assert score_axis([-s for s in scores], "max").low > -2
    assert score_axis(scores, "max").high > 1e5  # there it is the best


def test_a_loss_over_decades_is_drawn_by_decades_and_an_accuracy_is_not():
    assert score_axis([0.01, 0.5], "min").is_log
    assert not score_axis([0.01, 0.5], "max").is_log
    assert not score_axis([-1.0, 100.0], "min").is_log


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [-3.0, 1e9], [1e-12, 2e-12]])
def test_any_numbers_make_an_axis_with_a_length(values):
    axis = padded(spanning(values))
    assert axis.low < axis.high
    assert all(axis.place(value) is not None for value in values)
    assert all(0 <= (axis.place(value) or 0) <= 1 for value, _ in axis.ticks())


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        (Numbers(0, 1), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (Numbers(1, 27), ["5", "10", "15", "20", "25"]),
        (Numbers(1e-5, 1e-1, is_log=True), ["1e-5", "1e-4", "0.001", "0.01", "0.1"]),
        (Options(("a", [1, 2])), ["a", "[1, 2]"]),
    ],
)
def test_ticks_are_round(axis, labels):
    assert [text for _, text in axis.ticks()] == labels


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.001, "0.001"), (3e-5, "3e-5"), (20000.0, "20000"), (0, "0"), (2e7, "2e7")],
)
def test_a_tick_is_as_short_as_it_can_be(value, text):
    assert tick_text(value) == text


def test_seconds_get_the_unit_that_people_would_use():
    assert time_unit(90) == (1.0, "s")
    assert time_unit(600) == (60.0, "minutes")
    assert time_unit(8000) == (3600.0, "hours")

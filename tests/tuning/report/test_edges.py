from __future__ import annotations

import pytest
from paceline.tuning.report.edges import leanings, wider
from paceline.tuning.rows import Rows
from paceline.tuning.search.distributions import parse
from paceline.tuning.search.space import read_space


def widened(data: dict, *, is_high: bool):
    return wider(parse(data, "knob"), is_high=is_high)


@pytest.mark.parametrize(
    ("data", "is_high", "expected"),
    [
        ({"loguniform": [1e-4, 1e-2]}, True, {"loguniform": [1e-4, 0.1]}),
        ({"loguniform": [3e-4, 3e-2]}, False, {"loguniform": [3e-5, 3e-2]}),
        ({"loguniform": [0.1, 0.2]}, True, {"loguniform": [0.1, 0.6]}),
        ({"uniform": [0.0, 0.5]}, True, {"uniform": [0.0, 0.75]}),
        ({"uniform": [0.0, 0.9]}, True, {"uniform": [0.0, 0.99]}),
        ({"uniform": [0.8, 0.99]}, False, {"uniform": [0.71, 0.99]}),
        ({"uniform": [-1, 1]}, False, {"uniform": [-2, 1]}),
        ({"uniform": [5, 15]}, True, {"uniform": [5, 20]}),
        ({"randint": [1, 4]}, True, {"randint": [1, 6]}),
        ({"randint": [2, 8]}, False, {"randint": [1, 8]}),
        ({"quniform": [10, 50, 10]}, True, {"quniform": [10, 70, 10]}),
        ({"choice": [16, 32, 64]}, True, {"choice": [16, 32, 64, 128]}),
        ({"choice": [16, 32, 64]}, False, {"choice": [8, 16, 32, 64]}),
        ({"choice": [0.0, 0.1, 0.2]}, True, {"choice": [0.0, 0.1, 0.2, 0.3]}),
        ({"grid": [1, 2, 3]}, True, {"grid": [1, 2, 3, 4]}),
    ],
)
def test_a_range_grows_by_what_fits_it(data, is_high, expected):
    assert widened(data, is_high=is_high) == parse(expected, "knob")


@pytest.mark.parametrize(
    ("data", "is_high"),
    [
        ({"uniform": [0.0, 0.99]}, True),  # a share ends before 1
        ({"uniform": [0.0, 1.0]}, True),
        ({"uniform": [0.8, 0.99]}, True),
        ({"uniform": [0.0, 0.5]}, False),  # and begins at 0
        ({"uniform": [0, 10]}, False),
        ({"randint": [1, 4]}, False),  # no network has less than one layer
        ({"randint": [0, 4]}, False),
        ({"choice": [0.3, 0.6, 0.9]}, True),
        ({"choice": [0, 1, 2]}, False),
        ({"choice": [1, 2]}, True),  # two numbers are no row
        ({"choice": [4, 1, 2]}, True),
        ({"choice": ["a", "b", "c"]}, True),
        ({"choice": [[32], [64], [128]]}, True),
    ],
)
def test_nothing_is_proposed_beyond_what_has_a_meaning(data, is_high):
    assert widened(data, is_high=is_high) is None


def rows_of(name: str, values: list) -> Rows:
    """The first trial is the best, the last the worst."""
    rows = Rows("val/loss", "min")
    for number, value in enumerate(values):
        known = {} if value is None else {name: value}
        rows.apply({"event": "begin", "number": number, "values": known})
        metrics = {"val/loss": float(number)}
        rows.apply({"event": "report", "number": number, "epoch": 1, "metrics": metrics})
        rows.apply({"event": "end", "number": number, "status": "finished", "time": 1.0})
    return rows


RATE = read_space({"rate": {"loguniform": [1e-4, 1e-2]}}, {})
AT_TOP, BELOW, MIDDLE, AT_FLOOR = 9e-3, 3e-3, 1e-3, 1.1e-4


def test_the_best_at_an_edge_lean_on_it():
    (lean,) = leanings(rows_of("rate", [AT_TOP] * 6 + [MIDDLE] * 26), RATE)
    assert (lean.knob, lean.is_high, lean.edge, lean.inside, lean.of) == ("rate", True, 1e-2, 6, 8)
    (lean,) = leanings(rows_of("rate", [AT_FLOOR] * 6 + [MIDDLE] * 26), RATE)
    assert (lean.is_high, lean.edge, lean.inside) == (False, 1e-4, 6)


def test_the_bad_at_an_edge_lean_on_nothing():
    assert leanings(rows_of("rate", [MIDDLE] * 8 + [AT_TOP] * 24), RATE) == []


def test_the_best_beside_an_edge_do_not_lean_on_it():
    assert leanings(rows_of("rate", [AT_TOP] * 4 + [BELOW] * 4 + [MIDDLE] * 24), RATE) == []


def test_what_chance_does_often_is_no_leaning():
    assert leanings(rows_of("rate", [AT_TOP] * 2 + [MIDDLE] * 18), RATE) == []


def test_the_outer_part_of_a_logarithmic_range_is_one_of_its_decades():
    rows = rows_of("rate", [60.0] * 6 + [5.0] * 26)
    by_decades = read_space({"rate": {"loguniform": [1, 100]}}, {})
    evenly = read_space({"rate": {"uniform": [1, 100]}}, {})
    assert [lean.is_high for lean in leanings(rows, by_decades)] == [True]
    assert leanings(rows, evenly) == []


def test_only_trials_that_have_the_knob_are_counted():
    rows = rows_of("rate", [AT_TOP] * 5 + [None] * 3 + [MIDDLE] * 24)
    (lean,) = leanings(rows, RATE)
    assert (lean.inside, lean.of) == (5, 5)


def test_the_last_of_a_row_of_numbers_is_an_edge():
    space = read_space({"batch": {"choice": [16, 32, 64, 128]}}, {})
    (lean,) = leanings(rows_of("batch", [128] * 6 + [16, 32] + [64] * 24), space)
    assert (lean.edge, lean.wider.ends()) == (128, [16, 32, 64, 128, 256])

from __future__ import annotations

import math

import pytest
from paceline.platform.errors import UserError
from paceline.tuning.search.axes import axis, check_axes, decode, encode, rule
from paceline.tuning.search.distributions import QUniform, parse
from paceline.tuning.search.space import read_space

DISTRIBUTIONS = [
    {"uniform": [-2, 5]},
    {"loguniform": [1e-6, 1e2]},
    {"quniform": [16, 128, 16]},
    {"quniform": [0, 0.5, 0.1]},
    {"quniform": [1, 10, 4]},
    {"quniform": [1, 14, 4]},
    {"quniform": [-0.3, 0.7, 0.1]},
    {"quniform": [0, 1e-12, 1e-13]},
    {"randint": [-3, 4]},
    {"choice": [[128], [256, 128], {"a": 1}, None, "text", 1, 1.0, True]},
    {"grid": [0.1, 0.2]},
]


@pytest.mark.parametrize("data", DISTRIBUTIONS, ids=str)
def test_a_value_goes_to_its_number_and_comes_back_the_same(data):
    draws = parse(data, "knob")
    for u in [i / 997 for i in range(998)]:
        value = draws.at(u)
        back = decode(draws, encode(draws, value))
        assert back == value
        assert type(back) is type(value)


@pytest.mark.parametrize("data", DISTRIBUTIONS, ids=str)
def test_a_number_goes_to_its_value_and_comes_back_the_same(data):
    draws = parse(data, "knob")
    line = axis(draws)
    numbers = (
        [line.low + (line.high - line.low) * i / 97 for i in range(98)]
        if line.kind in ("real", "log")
        else range(int(line.low), int(line.high) + 1)
    )
    assert all(encode(draws, decode(draws, number)) == number for number in numbers)


@pytest.mark.parametrize("data", DISTRIBUTIONS[2:9], ids=str)
def test_the_whole_numbers_stand_for_exactly_what_is_drawn(data):
    draws = parse(data, "knob")
    line = axis(draws)
    values = {decode(draws, number) for number in range(int(line.low), int(line.high) + 1)}
    assert values == {draws.at(i / 4999) for i in range(5000)}


@pytest.mark.parametrize("data", DISTRIBUTIONS, ids=str)
def test_a_number_beyond_an_end_is_the_end(data):
    draws = parse(data, "knob")
    line = axis(draws)
    assert decode(draws, line.high + 0.3) == decode(draws, line.high)
    assert decode(draws, line.low - 0.3) == decode(draws, line.low)


def test_a_number_between_two_stands_for_the_nearer():
    assert decode(parse({"choice": ["a", "b", "c"]}, "knob"), 1.9) == "c"
    assert decode(parse({"quniform": [0, 1, 0.25]}, "knob"), 1.9) == 0.5
    assert decode(parse({"randint": [1, 4]}, "knob"), 2.9) == 3


def test_multiples_of_a_fraction_have_no_rounding_dust_at_any_size():
    assert QUniform(0, 1e7, 0.1).multiple(10_000_001 - 10) == 999_999.1
    assert QUniform(0, 1e-12, 1e-13).multiple(3) == 3e-13


@pytest.mark.parametrize(
    ("data", "value", "words"),
    [
        ({"uniform": [0, 1]}, 1.5, "a number from 0.0 to 1.0"),
        ({"uniform": [0, 1]}, True, "a number"),
        ({"uniform": [0, 1]}, "0.5", "a number"),
        ({"uniform": [0, 1]}, math.nan, "a number"),
        ({"loguniform": [1e-4, 1e-1]}, 0, "a number from 0.0001 to 0.1"),
        ({"quniform": [16, 64, 16]}, 40, "one of 16, 32, 48, 64"),
        ({"quniform": [1, 10, 4]}, 10, "one of 1, 4, 8"),
        ({"quniform": [0, 5, 0.1]}, 0.25, "a multiple of 0.1 from 0 to 5"),
        ({"quniform": [0, 5, 0.1]}, 5.1, "a multiple of 0.1 from 0 to 5"),
        ({"randint": [1, 4]}, 5, "a whole number from 1 to 4"),
        ({"randint": [1, 4]}, 1.5, "a whole number from 1 to 4"),
        ({"choice": ["SGD", None]}, "Adam", "one of 'SGD', None"),
        ({"choice": [0, 1]}, True, "one of 0, 1"),
    ],
)
def test_a_value_that_is_never_drawn_is_refused_with_the_rule(data, value, words):
    with pytest.raises(ValueError, match=r"^a |^one of") as caught:
        encode(parse(data, "knob"), value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "written", "drawn"),
    [
        ({"choice": [0.0, 0.5]}, 0, "0.0"),
        ({"choice": [1, 1.0]}, 1.0, "1.0"),
        ({"randint": [1, 4]}, 3.0, "3"),
        ({"uniform": [0, 1]}, 1, "1.0"),
        ({"quniform": [0, 1, 0.1]}, 0.1 * 3, "0.3"),
        ({"quniform": [0, 8, 2]}, 4.0, "4"),
    ],
)
def test_a_value_written_otherwise_becomes_the_one_that_is_drawn(data, written, drawn):
    draws = parse(data, "knob")
    assert repr(decode(draws, encode(draws, written))) == drawn


def test_a_rule_of_many_multiples_names_no_more_than_the_range():
    assert (
        rule(parse({"quniform": [0, 1e9, 0.001]}, "k"))
        == "a multiple of 0.001 from 0 to 1000000000.0"
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"grid": [1, 2]}, "no `grid` under tpe search"),
        ({"randint": [0, 2**60]}, "at most 2**40 from zero under tpe"),
        ({"quniform": [0, 1e9, 1e-9]}, "at most 2**40 from zero under tpe"),
        ({"uniform": [-1.7e308, 1.7e308]}, "less wide than a float holds under tpe"),
    ],
)
def test_what_a_searcher_in_floats_cannot_count_is_refused_at_the_knob(data, words):
    with pytest.raises(UserError) as caught:
        check_axes(read_space({"model.x": data}, {}), "tpe")
    assert words in caught.value.what
    assert caught.value.where == "sweep.space.model.x"

from __future__ import annotations

import pytest
from paceline.platform.errors import UserError
from paceline.tuning.rows import Rows
from paceline.tuning.search.points import complete, points_of, read_points
from paceline.tuning.search.space import read_space

ADAM = {"optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3}}}
KNOBS = {
    "learning_rate": {"to": "optimizer.lr", "loguniform": [1e-4, 1e-1]},
    "optimizer": {"to": "optimizer.class_path", "choice": ["SGD", "Adam"]},
    "momentum": {"to": "optimizer.momentum", "uniform": [0, 0.99], "when": {"optimizer": "SGD"}},
    "nesterov": {"to": "optimizer.nesterov", "choice": [True, False], "when": {"optimizer": "SGD"}},
    "width": {"to": "model.width", "quniform": [16, 64, 16]},
    "shape": {"to": "model.shape", "choice": [[1], [2, 1], None]},
    "depth": {"to": "model.depth", "randint": [1, 3], "when": {"shape": [[2, 1]]}},
}
SPACE = read_space(KNOBS, ADAM)


def refused(data) -> UserError:
    with pytest.raises(UserError) as caught:
        read_points(data, SPACE)
    return caught.value


def test_points_are_read_by_the_names_of_knobs_and_by_their_keys():
    given = [{"learning_rate": 0.01, "width": 32}, {"optimizer.lr": 0.02}, {"model.shape": [2, 1]}]
    assert read_points(given, SPACE) == [
        {"learning_rate": 0.01, "width": 32},
        {"learning_rate": 0.02},
        {"shape": [2, 1]},
    ]


def test_values_are_those_that_the_space_gives():
    (point,) = read_points([{"width": 32.0, "learning_rate": 0.1}], SPACE)
    assert repr(point["width"]) == "32"


@pytest.mark.parametrize(
    ("data", "words", "where"),
    [
        ({"width": 32}, "a list of mappings, one a trial", "sweep.points"),
        ([3], "a mapping of knobs to values", "sweep.points.0"),
        ([{}], "a mapping of knobs to values", "sweep.points.0"),
        ([{"width": 32}, {"widht": 32}], "a known name, but is 'widht'", "sweep.points.1"),
        ([{"width": 40}], "must be one of 16, 32, 48, 64, but is 40", "sweep.points.0"),
        ([{"learning_rate": 1}], "from 0.0001 to 0.1, but is 1", "sweep.points.0"),
        ([{"optimizer": "RMSprop"}], "one of 'SGD', 'Adam', but is 'RMSprop'", "sweep.points.0"),
        ([{"learning_rate": 0.1, "optimizer.lr": 0.1}], "given once", "sweep.points.0"),
        (
            [{"optimizer": "Adam", "momentum": 0.5}],
            "`sweep.points.0.momentum` must be left out, or beside `optimizer` of SGD, but is 0.5",
            "sweep.points.0",
        ),
        ([{"momentum": 0.5}], "beside `optimizer` of SGD", "sweep.points.0"),
        ([{"depth": 2}], "beside `shape` of [2, 1]", "sweep.points.0"),
        ([{"depth": 2, "shape": None}], "beside `shape` of [2, 1]", "sweep.points.0"),
    ],
)
def test_a_bad_point_is_one_message_at_its_place(data, words, where):
    error = refused(data)
    assert words in error.what
    assert error.where == where


def test_an_unknown_knob_of_a_point_lists_the_nearest():
    assert "width" in refused([{"widht": 32}]).remedy


def test_a_condition_on_what_does_not_vary_asks_the_config():
    only = SPACE.select(["learning_rate"])
    fixed = read_space({k: v for k, v in KNOBS.items() if k != "optimizer"} | {
        "momentum": {**KNOBS["momentum"], "when": {"optimizer.class_path": "Adam"}},
        "nesterov": {**KNOBS["nesterov"], "when": {"optimizer.class_path": "SGD"}},
    }, ADAM)  # fmt: skip
    assert read_points([{"momentum": 0.5}], fixed) == [{"momentum": 0.5}]
    with pytest.raises(UserError, match=r"beside `optimizer\.class_path` of SGD"):
        read_points([{"nesterov": True}], fixed)
    with pytest.raises(UserError, match="a known name"):
        read_points([{"momentum": 0.5}], only)


def test_conditions_of_conditions_are_decided_by_the_whole_chain():
    base = {"model": {"class_path": "M", "init_args": {"b": 1}}}
    chain = read_space(
        {
            "a": {"choice": [1, 2]},
            "b": {"to": "model.b", "choice": [1, 2], "when": {"a": 1}},
            "c": {"choice": [1, 2], "when": {"b": 1}},
        },
        base,
    )
    assert read_points([{"a": 1, "b": 1, "c": 2}], chain)
    with pytest.raises(UserError, match="beside `b` of 1"):
        read_points([{"a": 1, "c": 2}], chain)  # b is drawn, and may be 2
    assert read_points([{"a": 2, "c": 2}], chain)  # b does not vary, and is 1 in the config


def test_what_a_point_leaves_out_is_drawn_as_by_random_search():
    point = {"learning_rate": 0.05, "optimizer": "SGD", "momentum": 0.9}
    for number in range(20):
        values, drawn = complete(point, SPACE, 3, number), SPACE.sample(3, number)
        assert {name: values[name] for name in point} == point
        assert values["width"] == drawn["width"]
        assert ("depth" in values) == (values["shape"] == [2, 1])
    assert complete({}, SPACE, 3, 7) == SPACE.sample(3, 7)


def test_the_best_configurations_of_an_earlier_sweep_come_best_first(ended):
    rows = Rows("val/loss", "min")
    for number, score in enumerate([0.5, 0.2, 0.9, 0.3]):
        ended(number, {"learning_rate": 0.01 * (number + 1)}, score, rows=rows)
    assert [p["learning_rate"] for p in points_of(rows, SPACE, 3)] == [0.02, 0.04, 0.01]
    rows.mode = "max"
    assert [p["learning_rate"] for p in points_of(rows, SPACE, 1)] == [0.03]


def test_points_of_an_earlier_sweep_are_distinct_finite_and_of_trials_that_did_not_fail(ended):
    rows = Rows("val/loss", "min")
    ended(0, {"width": 16}, 0.3, rows=rows)
    ended(1, {"width": 16, "unknown": 1}, 0.2, rows=rows)
    ended(2, {"width": 32}, float("nan"), rows=rows)
    ended(3, {"width": 48}, 0.1, "failed", "", rows=rows)
    ended(4, {"width": 64}, 0.4, reason="early_stopped", rows=rows)
    assert points_of(rows, SPACE, 5) == [{"width": 16}, {"width": 64}]


def test_points_of_an_earlier_sweep_keep_only_what_this_space_takes(ended):
    rows = Rows("val/loss", "min")
    ended(0, {"learning_rate": 5.0, "width": 32, "batch_size": 8}, 0.1, rows=rows)
    ended(1, {"optimizer": "RMSprop", "momentum": 0.9, "width": 48}, 0.2, rows=rows)
    ended(2, {"optimizer": "Adam", "momentum": 0.9, "width": 64}, 0.3, rows=rows)
    ended(3, {"optimizer": "SGD", "momentum": 0.9, "shape": [2, 1], "depth": 9}, 0.4, rows=rows)
    ended(4, {"batch_size": 8}, 0.5, rows=rows)
    found = points_of(rows, SPACE, 9)
    assert found == [
        {"width": 32},
        {"width": 48},
        {"optimizer": "Adam", "width": 64},
        {"optimizer": "SGD", "momentum": 0.9, "shape": [2, 1]},
    ]
    assert read_points(found, SPACE) == found


def test_points_of_an_earlier_sweep_are_found_by_the_keys_of_knobs_that_were_renamed(ended):
    rows = Rows("val/loss", "min")
    ended(0, {"optimizer.lr": 0.01, "model.width": 32}, 0.1, rows=rows)
    assert points_of(rows, SPACE, 1) == [{"learning_rate": 0.01, "width": 32}]

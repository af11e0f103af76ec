from __future__ import annotations

import json

import pytest
from paceline.tuning.search.differences import as_data, differences, digest
from paceline.tuning.search.space import read_space

BASE = {
    "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3}},
    "model": {"class_path": "MLP", "init_args": {"dropout": 0.0}},
}
KNOBS = {
    "optimizer": {"to": "optimizer.class_path", "choice": ["SGD", "Adam"]},
    "learning_rate": {"to": ["optimizer.lr"], "loguniform": [1e-4, 1e-1]},
    "momentum": {"to": "optimizer.momentum", "uniform": [0, 0.99], "when": {"optimizer": "SGD"}},
    "model.dropout": {"quniform": [0, 0.5, 0.1]},
    "layers": {"to": "model.layers", "randint": [1, 4]},
    "shape": {"to": "model.shape", "grid": [[1], {"a": None}]},
}
SPACE = read_space(KNOBS, BASE)


def changed(**knobs) -> list[str]:
    """What differs when these knobs are put in place of ours; None takes one out."""
    new = {name: entry for name, entry in (KNOBS | knobs).items() if entry is not None}
    found = differences(KNOBS, new)
    assert found == differences(as_data(SPACE), as_data(read_space(new, BASE)))
    assert bool(found) == (digest(SPACE) != digest(read_space(new, BASE)))
    return found


def test_a_space_as_data_is_a_space_that_reads_the_same():
    data = json.loads(json.dumps(as_data(SPACE)))
    assert read_space(data, BASE) == SPACE
    assert differences(KNOBS, as_data(SPACE)) == []


def test_the_same_space_written_otherwise_does_not_differ():
    assert changed() == []
    assert (
        changed(
            learning_rate={"to": "optimizer.init_args.lr", "loguniform": [1e-4, 0.1]},
            momentum={
                "to": ["optimizer.momentum"],
                "uniform": [0.0, 0.99],
                "when": {"optimizer.class_path": ["SGD"]},
            },
        )
        == []
    )


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"layers": None}, ["`layers` is gone"]),
        ({"width": {"to": "model.width", "randint": [1, 2]}}, ["`width` is new"]),
        (
            {"learning_rate": {"to": "optimizer.lr", "loguniform": [1e-3, 1e-1]}},
            ["`learning_rate` was loguniform [0.0001, 0.1] and is loguniform [0.001, 0.1]"],
        ),
        (
            {"learning_rate": {"to": "optimizer.lr", "uniform": [1e-4, 1e-1]}},
            ["`learning_rate` was loguniform [0.0001, 0.1] and is uniform [0.0001, 0.1]"],
        ),
        (
            {"model.dropout": {"quniform": [0, 0.5, 0.25]}},
            ["`model.dropout` was quniform [0.0, 0.5, 0.1] and is quniform [0.0, 0.5, 0.25]"],
        ),
        (
            {"layers": {"to": "model.layers", "randint": [1, 5]}},
            ["`layers` was randint [1, 4] and is randint [1, 5]"],
        ),
        (
            {"optimizer": {"to": "optimizer.class_path", "choice": ["SGD", "RMSprop", "Lion"]}},
            ['`optimizer` no longer has "Adam"', '`optimizer` has also "RMSprop", "Lion"'],
        ),
        (
            {"optimizer": {"to": "optimizer.class_path", "choice": ["Adam", "SGD"]}},
            ['`optimizer` has its options in another order: "Adam", "SGD"'],
        ),
        (
            {"shape": {"to": "model.shape", "choice": [[1], {"a": None}]}},
            ["`shape` was grid [[1], {'a': None}] and is choice [[1], {'a': None}]"],
        ),
        (
            {"layers": {"to": ["model.layers", "model.depth"], "randint": [1, 4]}},
            ["`layers` was put at model.layers and is put at model.layers, model.depth"],
        ),
        (
            {"momentum": {"to": "optimizer.momentum", "uniform": [0, 0.99]}},
            ["`momentum` applied where optimizer.class_path is SGD and applies always"],
        ),
        (
            {"momentum": {**KNOBS["momentum"], "when": {"optimizer": ["SGD", "RMSprop"]}}},
            [
                "`momentum` applied where optimizer.class_path is SGD"
                " and applies where optimizer.class_path is RMSprop or SGD"
            ],
        ),
    ],
    ids=str,
)
def test_each_difference_is_told_in_a_sentence(knobs, told):
    assert changed(**knobs) == told


def test_several_differences_are_told_together():
    assert len(changed(layers=None, width={"randint": [1, 2]}, shape={"grid": [[1]]})) == 4


def test_the_order_of_knobs_counts_where_a_grid_numbers_its_trials_by_it():
    lists = {"a": {"grid": [1, 2]}, "b": {"choice": [3, 4]}}
    turned = dict(reversed(lists.items()))
    assert differences(lists, turned) == ["the knobs stand in another order: b, a"]
    assert digest(read_space(lists, {})) != digest(read_space(turned, {}))
    drawn = dict(reversed(KNOBS.items()))
    assert differences(KNOBS, drawn) == []
    assert digest(read_space(drawn, BASE)) == digest(SPACE)


def test_whole_and_real_steps_are_told_apart_as_their_values_are():
    whole, real = {"x": {"quniform": [0, 8, 2]}}, {"x": {"quniform": [0.0, 8.0, 2.0]}}
    assert len(differences(whole, real)) == 1
    assert digest(read_space(whole, {})) != digest(read_space(real, {}))

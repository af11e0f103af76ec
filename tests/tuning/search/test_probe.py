from __future__ import annotations

import pytest
from paceline.platform.errors import UserError
from paceline.tuning.search.probe import check, probes
from paceline.tuning.search.space import read_space

BASE = {"optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3}}}
KNOBS = {
    "lr": {"to": "optimizer.lr", "loguniform": [1e-4, 1e-1]},
    "optimizer": {"to": "optimizer.class_path", "choice": ["SGD", "Adam", "RMSprop"]},
    "momentum": {
        "to": "optimizer.momentum",
        "uniform": [0, 0.99],
        "when": {"optimizer.class_path": ["SGD", "RMSprop"]},
    },
    "layers": {"to": "model.hidden_sizes", "choice": [[1], [2], [3]]},
}


def test_every_option_and_both_bounds_are_in_some_probe():
    space = read_space(KNOBS, BASE)
    found = probes(space)
    for knob in space.knobs:
        seen = [v[knob.name] for v in found if knob.name in v]
        assert all(end in seen for end in knob.draws.ends())


def test_probes_are_as_few_as_the_longest_list_of_options():
    assert len(probes(read_space(KNOBS, BASE))) == 3


def test_probes_obey_conditions():
    for values in probes(read_space(KNOBS, BASE)):
        assert ("momentum" in values) == (values["optimizer"] != "Adam")


def test_a_knob_that_can_never_exist_is_not_probed():
    only = {"momentum": KNOBS["momentum"], "lr": KNOBS["lr"]}
    assert all("momentum" not in values for values in probes(read_space(only, BASE)))


def test_probes_of_contradicting_conditions_end():
    knobs = {
        "a": {"choice": [1, 2]},
        "b": {"choice": [1], "when": {"a": 1}},
        "c": {"choice": [1], "when": {"a": 2, "b": 1}},
    }
    assert all("c" not in values for values in probes(read_space(knobs, BASE)))


def test_the_guilty_knob_is_named_with_its_value():
    def try_config(assigned):
        if assigned.get("optimizer.init_args.momentum", 0) > 0.9:
            raise UserError("`momentum` must be at most 0.9, but is 0.99.", "", "use less")

    with pytest.raises(UserError) as caught:
        check(read_space(KNOBS, BASE), try_config)
    assert caught.value.where == "sweep.space.momentum"
    assert "0.99" in caught.value.what
    assert caught.value.remedy == "use less"


def test_a_condition_s_own_knob_is_blamed_before_the_knobs_that_rest_on_it():
    def try_config(assigned):
        if assigned.get("optimizer.class_path") == "RMSprop":
            raise UserError("no such class")

    with pytest.raises(UserError) as caught:
        check(read_space(KNOBS, BASE), try_config)
    assert caught.value.where == "sweep.space.optimizer"


def test_knobs_that_fail_only_together_are_listed_together():
    def try_config(assigned):
        if len(assigned) > 1:
            raise UserError("too many")

    knobs = {"a": {"choice": [1]}, "b": {"choice": [2]}}
    with pytest.raises(UserError, match=r"together: a=1, b=2"):
        check(read_space(knobs, BASE), try_config)


def test_a_space_that_fits_is_tried_completely():
    tried = []
    assert check(read_space(KNOBS, BASE), tried.append) == len(tried) == 3

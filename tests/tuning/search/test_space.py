from __future__ import annotations

import itertools
import math

import pytest
from paceline.platform.errors import UserError
from paceline.tuning.search.space import read_space, trial_seed, unit

ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3, "betas": [0.9, 0.999]}}
BASE = {"optimizer": ADAM, "model": {"class_path": "MLP", "init_args": {"dropout": 0.0}}}


def space(**knobs):
    return read_space(knobs, BASE)


def refused(**knobs) -> UserError:
    with pytest.raises(UserError) as caught:
        space(**knobs)
    return caught.value


def values_of(distribution, n=400):
    knobs = space(x={"to": "model.x", **distribution})
    return [knobs.sample(7, i)["x"] for i in range(n)]


def test_a_trial_is_the_same_whatever_was_drawn_before():
    knobs = space(a={"uniform": [0, 1]}, b={"choice": [1, 2, 3]})
    later = [knobs.sample(1, i) for i in range(20)]
    assert knobs.sample(1, 13) == later[13]
    assert len({v["a"] for v in later}) == 20


def test_a_knob_keeps_its_values_when_others_are_left_out():
    knobs = space(a={"uniform": [0, 1]}, b={"uniform": [0, 1]})
    assert knobs.select(["b"]).sample(1, 5)["b"] == knobs.sample(1, 5)["b"]


def test_seeds_give_different_trials():
    knobs = space(a={"uniform": [0, 1]})
    assert knobs.sample(1, 0) != knobs.sample(2, 0)
    assert trial_seed(1, 0) != trial_seed(1, 1) != trial_seed(2, 1)
    assert all(0 <= trial_seed(3, i) < 2**31 for i in range(100))


def test_units_are_even_over_the_interval():
    draws = [unit(0, i, "x") for i in range(4000)]
    assert 0 <= min(draws) < 0.01
    assert 0.99 < max(draws) < 1
    assert abs(sum(draws) / 4000 - 0.5) < 0.02  # fixed seed; 4 standard errors are 0.018


def test_uniform_stays_inside_its_bounds():
    assert all(2 <= v < 5 for v in values_of({"uniform": [2, 5]}))


def test_loguniform_visits_each_decade_alike():
    values = values_of({"loguniform": [1e-4, 1e-1]}, 3000)
    decades = [sum(-4 + k <= math.log10(v) < -3 + k for v in values) for k in range(3)]
    assert sum(decades) == 3000
    assert min(decades) > 900


def test_quniform_of_whole_numbers_gives_whole_multiples():
    values = values_of({"quniform": [16, 128, 16]})
    assert set(values) == set(range(16, 129, 16))
    assert all(isinstance(v, int) for v in values)


def test_quniform_of_fractions_has_no_rounding_dust():
    assert 0.3 in values_of({"quniform": [0, 0.5, 0.1]})


def test_randint_includes_both_bounds():
    assert set(values_of({"randint": [1, 4]})) == {1, 2, 3, 4}


def test_choice_takes_any_plain_value():
    options = [[128], [256, 128], None, {"a": 1}, "text"]
    values = values_of({"choice": options})
    assert all(o in values for o in options)


def test_bounds_of_any_size_do_not_overflow():
    assert all(math.isfinite(v) for v in values_of({"uniform": [-1.7e308, 1.7e308]}))


def test_a_knob_goes_to_all_its_targets_and_a_key_to_itself():
    knobs = space(width={"to": ["model.a", "model.init_args.b"], "choice": [3]})
    assert knobs.assignments({"width": 3}) == {"model.init_args.a": 3, "model.init_args.b": 3}
    own = read_space({"optimizer.lr": {"uniform": [0, 1]}}, BASE)
    assert own.assignments({"optimizer.lr": 0.5}) == {"optimizer.init_args.lr": 0.5}


def test_a_target_may_index_a_list():
    knobs = space(beta={"to": "optimizer.betas.0", "uniform": [0.8, 0.99]})
    assert knobs.assignments({"beta": 0.9}) == {"optimizer.init_args.betas.0": 0.9}


def test_classes_are_assigned_before_their_arguments():
    knobs = space(
        a={"to": "optimizer.lr", "uniform": [0, 1]},
        b={"to": "optimizer.class_path", "choice": ["SGD"]},
    )
    assert [*knobs.assignments({"a": 0.1, "b": "SGD"})] == [
        "optimizer.class_path",
        "optimizer.init_args.lr",
    ]


CONDITIONAL = {
    "momentum": {
        "to": "optimizer.momentum",
        "uniform": [0, 0.99],
        "when": {"optimizer.class_path": ["SGD", "RMSprop"]},
    },
    "optimizer": {"to": "optimizer.class_path", "choice": ["SGD", "Adam"]},
    "beta": {"to": "optimizer.betas.0", "uniform": [0.8, 0.99], "when": {"optimizer": "Adam"}},
}


def test_a_conditional_knob_exists_only_beside_the_sampled_value_it_asks_for():
    knobs = space(**CONDITIONAL)
    drawn = [knobs.sample(0, i) for i in range(50)]
    assert all(("momentum" in v) == (v["optimizer"] == "SGD") for v in drawn)
    assert all(("beta" in v) == (v["optimizer"] == "Adam") for v in drawn)
    assert {v["optimizer"] for v in drawn} == {"SGD", "Adam"}


def test_a_condition_on_what_is_not_varied_asks_the_config():
    fixed = {k: v for k, v in CONDITIONAL.items() if k != "optimizer"}
    fixed["beta"] = {**CONDITIONAL["beta"], "when": {"optimizer.class_path": "Adam"}}
    assert set(space(**fixed).sample(0, 0)) == {"beta"}


def test_a_condition_on_an_absent_knob_asks_the_config_at_its_target():
    knobs = space(
        optimizer={"to": "optimizer.class_path", "choice": ["SGD"], "when": {"model.dropout": 0.5}},
        beta={"uniform": [0, 1], "when": {"optimizer": "Adam"}},
    )
    assert set(knobs.sample(0, 0)) == {"beta"}


def test_a_condition_looks_inside_a_whole_section_that_is_chosen():
    knobs = space(
        optimizer={"choice": [{"class_path": "SGD", "init_args": {"lr": 0.1}}]},
        momentum={"uniform": [0, 1], "when": {"optimizer.class_path": "SGD"}},
    )
    assert "momentum" in knobs.sample(0, 0)


def test_conditions_chain():
    knobs = space(
        c={"choice": [1], "when": {"b": 1}},
        b={"choice": [1, 2], "when": {"a": 1}},
        a={"choice": [1, 2]},
    )
    seen = [tuple(sorted(knobs.sample(0, i))) for i in range(60)]
    assert set(seen) == {("a",), ("a", "b"), ("a", "b", "c")}


def test_grid_enumerates_the_product_in_order():
    knobs = space(a={"grid": [1, 2]}, b={"choice": ["x", "y", "z"]})
    points = [*knobs.grid()]
    assert [tuple(p.values()) for p in points] == [*itertools.product([1, 2], "xyz")]


def test_grid_leaves_out_combinations_whose_condition_fails():
    knobs = space(a={"grid": [1, 2]}, b={"grid": [3, 4], "when": {"a": 2}})
    assert [*knobs.grid()] == [{"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 4}]


def test_grid_of_a_continuous_knob_is_refused_with_the_remedy():
    with pytest.raises(UserError, match="under grid search") as caught:
        [*space(a={"grid": [1]}, lr={"uniform": [0, 1]}).grid()]
    assert caught.value.where == "sweep.space.lr"


def test_a_grid_may_be_too_large_to_list():
    knobs = space(**{f"k{i}": {"grid": [*range(10)]} for i in range(30)})
    assert len([*itertools.islice(knobs.grid(), 5)]) == 5


def test_select_keeps_only_the_named_knobs_by_name_or_key():
    knobs = space(lr={"to": "optimizer.lr", "uniform": [0, 1]}, b={"uniform": [0, 1]})
    assert [k.name for k in knobs.select(["optimizer.lr"]).knobs] == ["lr"]
    assert [k.name for k in knobs.select(["lr", "lr"]).knobs] == ["lr"]
    assert knobs.select([]) is knobs


def test_select_of_an_unknown_knob_lists_the_nearest():
    with pytest.raises(UserError) as caught:
        space(learning_rate={"uniform": [0, 1]}).select(["lerning_rate"])
    assert "learning_rate" in caught.value.remedy


def test_select_of_a_knob_that_cannot_apply_says_which_optimizers_have_it():
    with pytest.raises(UserError) as caught:
        space(**CONDITIONAL).select(["momentum"])
    assert "torch.optim.Adam" in caught.value.what
    assert "SGD, RMSprop" in caught.value.what
    assert caught.value.where == "sweep.space.momentum"


def test_select_takes_a_conditional_knob_together_with_what_it_needs():
    chosen = space(**CONDITIONAL).select(["momentum", "optimizer"])
    assert {k.name for k in chosen.knobs} == {"momentum", "optimizer"}
    assert {k.name for k in space(**CONDITIONAL).select(["beta"]).knobs} == {"beta"}


def test_select_of_a_knob_whose_needed_value_is_no_option_is_refused():
    optimizer = {"to": "optimizer.class_path", "choice": ["SGD", "RMSprop"]}
    knobs = space(optimizer=optimizer, beta=CONDITIONAL["beta"])
    assert knobs.select(["beta"])  # alone, the config's own Adam stays
    with pytest.raises(UserError, match="beta needs Adam"):
        knobs.select(["beta", "optimizer"])


def test_knobs_on_one_key_must_be_kept_apart_by_conditions():
    one = {"to": "optimizer.lr", "uniform": [0, 1]}
    assert "second one" in refused(a=one, b=one).what
    space(
        a={**one, "when": {"optimizer.class_path": ["SGD"]}},
        b={**one, "when": {"optimizer.class_path": ["Adam", "AdamW"]}},
    )


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"choice": []}, "at least one value"),
        ({"choice": "abc"}, "at least one value"),
        ({"choice": [1, 1]}, "without repeats"),
        ({"grid": []}, "at least one value"),
        ({"uniform": [1, 0]}, "low < high"),
        ({"uniform": [1, 1]}, "low < high"),
        ({"uniform": [0, math.nan]}, "finite"),
        ({"uniform": [0, math.inf]}, "finite"),
        ({"uniform": [0]}, "[low, high]"),
        ({"uniform": [0, 1, 2]}, "[low, high]"),
        ({"uniform": 3}, "[low, high]"),
        ({"uniform": ["0", "1e-3"]}, "finite numbers"),
        ({"uniform": [False, True]}, "finite numbers"),
        ({"uniform": [0, 10**400]}, "finite numbers"),
        ({"loguniform": [0, 1]}, "low > 0"),
        ({"loguniform": [-1, 1]}, "low > 0"),
        ({"loguniform": None}, "[low, high]"),
        ({"quniform": [0, 1]}, "[low, high, step]"),
        ({"quniform": [0, 1, 0]}, "step"),
        ({"quniform": [0, 1, -0.5]}, "step"),
        ({"quniform": [0, 1, 2]}, "step"),
        ({"randint": [0.5, 2]}, "whole numbers"),
        ({"randint": [4, 1]}, "low < high"),
        ({"unifrom": [0, 1]}, "a known name"),
        ({"normal": [0, 1]}, "a known name"),
        ({"uniform": [0, 1], "choice": [1]}, "exactly one distribution"),
        ({}, "exactly one distribution"),
        ({"to": "model.dropout"}, "exactly one distribution"),
        ([0, 1], "a mapping such as"),
        (0.1, "a mapping such as"),
        (None, "a mapping such as"),
        ({"to": [], "uniform": [0, 1]}, "list of dotted config keys"),
        ({"to": [3], "uniform": [0, 1]}, "list of dotted config keys"),
        ({"uniform": [0, 1], "when": "SGD"}, "mapping of keys"),
        ({"uniform": [0, 1], "when": {"optimizer.class_path": []}}, "a value or a list"),
        ({"uniform": [0, 1], "when": {"optimizer.clas_path": "SGD"}}, "known name"),
        ({"choice": [0, 1], "when": {"knob": 1}}, "in a circle"),
    ],
)
def test_a_bad_knob_is_one_message_at_its_place(entry, words):
    error = refused(knob=entry)
    assert words in error.what
    assert error.where.startswith("sweep.space")


def test_a_misspelt_distribution_lists_the_nearest():
    assert "uniform" in refused(knob={"unifrom": [0, 1]}).remedy
    assert "grid" in refused(knob={"gauss": [0, 1]}).remedy


def test_an_unknown_key_in_when_lists_the_nearest():
    error = refused(m={"uniform": [0, 1], "when": {"optimizer.clas_path": "SGD"}})
    assert "optimizer.class_path" in error.remedy


def test_conditions_in_a_circle_are_named():
    error = refused(a={"choice": [1], "when": {"b": 1}}, b={"choice": [1], "when": {"a": 1}})
    assert "a" in error.what
    assert "circle" in error.what


def test_a_condition_on_a_real_number_is_refused():
    error = refused(a={"uniform": [0, 1]}, b={"choice": [1], "when": {"a": 0.5}})
    assert "randint" in error.what


def test_a_condition_on_a_whole_number_holds_inside_its_range():
    knobs = space(layers={"randint": [1, 3]}, third={"choice": [1], "when": {"layers": [3, 9]}})
    assert knobs.possible(knobs.knobs[1])
    assert all(
        ("third" in v) == (v["layers"] == 3) for v in (knobs.sample(0, i) for i in range(40))
    )


def test_a_space_that_is_no_mapping_is_refused():
    with pytest.raises(UserError, match="mapping of knobs"):
        read_space([1], BASE)

"""Importances of functions whose importances are known.

The forest's and the shuffles' random numbers are fixed, and so are the trials: the tests are
deterministic.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from paceline.tuning.report.importance import MIN_TRIALS, Importances, importances
from paceline.tuning.rows import Rows
from paceline.tuning.search.space import read_space

Score = Callable[[dict[str, Any]], float]
KNOBS = {name: {"uniform": [0, 1]} for name in ("a", "b", "c", "d", "e")}


def rows_of(knobs: dict[str, Any], score: Score, num_trials: int, seed: int = 0) -> Rows:
    """Finished trials of random configurations; a NaN score diverged."""
    space, rows = read_space(knobs, {}), Rows("val/loss", "min")
    for number in range(num_trials):
        values = space.sample(seed, number)
        rows.apply({"event": "begin", "number": number, "values": values})
        metrics = {"val/loss": score(values)}
        rows.apply({"event": "report", "number": number, "epoch": 1, "metrics": metrics})
        end = {"status": "finished", "stop_reason": "completed", "time": 1.0}
        rows.apply({"event": "end", "number": number, **end})
    return rows


def measure(knobs: dict[str, Any], score: Score, num_trials: int, seed: int = 0) -> Importances:
    return importances(rows_of(knobs, score, num_trials, seed), read_space(knobs, {}))


def shares(found: Importances) -> dict[str, float]:
    return {knob.knob: knob.share for knob in found.knobs}


def test_a_linear_function_s_shares_are_the_squares_of_its_weights():
    """Permuting x of y = w x costs 2 w^2 var(x), so shares of 9 : 4 : 1 are expected."""
    found = measure(KNOBS, lambda v: 3 * v["a"] + 2 * v["b"] + v["c"], 300)
    measured = shares(found)
    assert list(measured)[:3] == ["a", "b", "c"]
    assert abs(measured["a"] - 9 / 14) < 0.12
    assert abs(measured["b"] - 4 / 14) < 0.1
    assert abs(measured["c"] - 1 / 14) < 0.06
    assert measured["d"] + measured["e"] < 0.02
    assert found.explained > 0.9
    assert math.isclose(sum(measured.values()), 1)


def test_the_first_of_five_knobs_is_found_in_as_few_trials_as_are_asked_for():
    def score(values: dict[str, Any]) -> float:
        return 6 * (values["a"] - 0.7) ** 2 + values["b"]

    firsts = [shares(measure(KNOBS, score, MIN_TRIALS, seed)) for seed in range(8)]
    assert sum(next(iter(first), "") == "a" for first in firsts) >= 7


def test_a_lower_score_and_a_higher_one_are_equally_important():
    rows = rows_of(KNOBS, lambda v: v["a"], 40)
    rows.mode = "max"
    found = importances(rows, read_space(KNOBS, {}))
    assert found.knobs[0].knob == "a"


def test_options_of_every_kind_are_taken():
    knobs = {
        "layer_size": {"choice": [[32], [64, 64], {"wide": 512}, "auto", None, True]},
        "rate": {"loguniform": [1e-5, 1e-1]},
    }
    found = measure(knobs, lambda v: 5.0 if v["layer_size"] == {"wide": 512} else 1.0, 60)
    assert next(iter(shares(found))) == "layer_size"
    assert shares(found)["layer_size"] > 0.9


def test_a_logarithmic_knob_is_judged_by_its_decades():
    knobs = {"rate": {"loguniform": [1e-6, 1]}, "other": {"uniform": [0, 1]}}
    found = measure(knobs, lambda v: abs(math.log10(v["rate"]) + 3), 60)
    assert shares(found)["rate"] > 0.9


CONDITIONAL = {
    "kind": {"choice": ["x", "y"]},
    "momentum": {"uniform": [0, 1], "when": {"kind": ["y"]}},
    "idle": {"uniform": [0, 1], "when": {"kind": ["y"]}},
}


def test_that_a_knob_exists_is_the_merit_of_the_knob_that_its_condition_names():
    knobs = {
        "kind": {"choice": [*"abcdef"]},
        "momentum": {"uniform": [0, 1], "when": {"kind": [*"def"]}},
    }
    found = measure(knobs, lambda v: float(v["kind"] in "def"), 60)
    assert shares(found)["kind"] > 0.95


def test_a_knob_with_a_condition_counts_where_it_exists():
    found = measure(CONDITIONAL, lambda v: v.get("momentum", 0.5), 150)
    assert next(iter(shares(found))) == "momentum"
    assert shares(found)["idle"] < 0.05


def test_trials_that_diverged_count_as_the_worst():
    def score(values: dict[str, Any]) -> float:
        return math.nan if values["a"] > 0.6 else values["b"]

    found = measure(KNOBS, score, 100)
    assert next(iter(shares(found))) == "a"


def test_one_huge_score_does_not_drown_the_others():
    random.seed(0)
    found = measure(KNOBS, lambda v: v["a"] + (1e9 if random.random() < 0.03 else 0), 100)
    assert next(iter(shares(found))) == "a"
    assert shares(found)["a"] > 0.8


def test_nothing_is_told_of_too_few_trials():
    found = measure(KNOBS, lambda v: v["a"], MIN_TRIALS - 1)
    assert found.knobs == ()
    assert found.reason == "Importances need 20 ended trials, and there are 19."


def test_nothing_is_told_of_chance():
    """Of 10 sweeps of pure chance at most one is taken for more."""
    found = []
    for seed in range(10):
        random.seed(seed)
        found.append(measure(KNOBS, lambda _: random.random(), 60, seed))
    assert sum(bool(f.knobs) for f in found) <= 1
    assert all("chance" in f.reason for f in found if not f.knobs)


def test_nothing_is_told_when_nothing_differs():
    assert measure(KNOBS, lambda _: 1.0, 30).reason.startswith("No knob or no score differs")
    constant = {"a": {"choice": [1]}}
    assert measure(constant, lambda _: random.random(), 30).reason.startswith("No knob")


def test_the_same_trials_give_the_same_numbers():
    def score(values: dict[str, Any]) -> float:
        return values["a"] + values["b"]

    assert measure(KNOBS, score, 30) == measure(KNOBS, score, 30)


def test_the_method_is_stated_with_its_numbers():
    told = measure(KNOBS, lambda v: v["a"], 40).method
    assert told.startswith("Permutation importance")
    assert "40 ended trials" in told
    assert " % of the variance" in told

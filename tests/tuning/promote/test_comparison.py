"""Which of two configurations is better, of a few seeds each."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from paceline.platform.repeat import mean_and_interval
from paceline.tuning.promote.comparison import Attempt, Contender, decide, median_attempt
from paceline.tuning.promote.contenders import contenders
from paceline.tuning.rows import Rows
from scipy import stats


def contender(trial_id: str, *scores: float | None) -> Contender:
    attempts = [
        Attempt(seed, f"run-{trial_id}-{seed}", metrics={} if s is None else {"val/loss": s})
        for seed, s in enumerate(scores, 1)
    ]
    return Contender(trial_id, {}, attempts)


def test_the_interval_of_the_difference_is_that_of_the_paired_t_test():
    winner, other = [0.30, 0.34, 0.29, 0.33, 0.31], [0.33, 0.35, 0.34, 0.33, 0.36]
    verdict = decide(contender("001", *winner), contender("002", *other), "val/loss", "min")
    expected = stats.ttest_rel(other, winner).confidence_interval(0.95)
    assert verdict.promoted.trial_id == "001"
    assert verdict.pairs == 5
    assert verdict.margin - verdict.half_width == pytest.approx(expected.low, abs=1e-12)
    assert verdict.margin + verdict.half_width == pytest.approx(expected.high, abs=1e-12)
    assert verdict.is_sure == (expected.low > 0)


@pytest.mark.parametrize(("mode", "promoted"), [("min", "002"), ("max", "001")])
def test_a_runner_up_whose_mean_is_better_is_promoted(mode: str, promoted: str):
    verdict = decide(contender("001", 0.5, 0.6), contender("002", 0.4, 0.3), "val/loss", mode)
    assert verdict.promoted.trial_id == promoted
    assert verdict.margin == pytest.approx(0.2)
    assert verdict.other is not None


def test_of_one_seed_nothing_is_sure_and_the_winner_of_equals_stays():
    verdict = decide(contender("001", 0.5), contender("002", 0.5), "val/loss", "min")
    assert verdict.promoted.trial_id == "001"
    assert math.isnan(verdict.half_width)
    assert not verdict.is_sure


def test_a_seed_that_failed_counts_against_its_configuration():
    verdict = decide(
        contender("001", 0.1, None, 0.1), contender("002", 0.4, 0.4, 0.4), "val/loss", "min"
    )
    assert verdict.promoted.trial_id == "002"
    assert verdict.pairs == 2
    worse = decide(contender("001", 0.1, 0.2), contender("002", None, None), "val/loss", "min")
    assert (worse.promoted.trial_id, worse.pairs) == ("001", 0)


def test_a_value_that_is_no_number_is_a_failed_seed():
    verdict = decide(contender("001", 0.1, math.nan), contender("002", 0.4, 0.4), "val/loss", "min")
    assert verdict.promoted.trial_id == "002"
    assert verdict.as_dict("val/loss")["pairs"] == 1


@pytest.mark.parametrize(
    ("scores", "mode", "seed"),
    [
        ((0.3, 0.1, 0.2), "min", 3),
        ((0.3, 0.1, 0.2), "max", 3),
        ((0.4, 0.1, 0.2, 0.3), "min", 4),  # of 0.2 and 0.3 the worse
        ((0.4, 0.1, 0.2, 0.3), "max", 3),
        ((0.5,), "min", 1),
        ((None, 0.1, 0.2, 0.3), "min", 3),
    ],
)
def test_the_median_seed_is_taken_and_the_worse_of_two_in_the_middle(
    scores: tuple[float | None, ...], mode: str, seed: int
):
    assert median_attempt(contender("001", *scores), "val/loss", mode).seed == seed


def test_no_seed_with_a_value_has_no_median():
    with pytest.raises(ValueError, match="at least one seed"):
        median_attempt(contender("001", None, math.nan), "val/loss", "min")


def test_the_summary_is_the_mean_and_students_interval_of_the_seeds_that_have_a_metric():
    [(name, (mean, half_width))] = contender("001", 0.1, None, 0.3).summary().items()
    assert (name, mean) == ("val/loss", pytest.approx(statistics.fmean([0.1, 0.3])))
    assert half_width == mean_and_interval([0.1, 0.3])[1]


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    """A false alarm has odds below 1e-6: 95 % of 2,000 draws, six standard deviations wide."""
    random, held = np.random.default_rng(0), 0
    for _ in range(2000):
        pairs = random.normal(size=5)  # what a seed does to both
        one = 1.0 + pairs + random.normal(scale=0.5, size=5)
        other = 1.3 + pairs + random.normal(scale=0.5, size=5)
        verdict = decide(contender("a", *one), contender("b", *other), "val/loss", "min")
        sign = 1 if verdict.promoted.trial_id == "a" else -1
        held += abs(sign * verdict.margin - 0.3) <= verdict.half_width
    assert abs(held / 2000 - 0.95) < 6 * math.sqrt(0.95 * 0.05 / 2000)


def rows(*trials: tuple[str, float | None, float]) -> Rows:
    """Trials as (status, score, value of their knob)."""
    found = Rows("val/loss", "min")
    for number, (status, score, value) in enumerate(trials):
        found.apply({"event": "begin", "number": number, "values": {"knob": value}, "seed": number})
        found.apply({"event": "start", "number": number, "time": 0.0})
        metrics = {} if score is None else {"val/loss": score}
        found.apply({"event": "report", "number": number, "epoch": 1, "metrics": metrics})
        found.apply({"event": "end", "number": number, "status": status, "time": 1.0})
    return found


def numbers(found: Rows) -> list[int]:
    return [row.number for row in contenders(found)]


def test_the_contenders_are_the_two_best_finished_trials_that_differ():
    both = rows(("finished", 0.3, 1), ("finished", 0.1, 2), ("failed", 0.01, 3))
    assert numbers(both) == [1, 0]
    same = rows(("finished", 0.1, 1), ("finished", 0.2, 1), ("finished", 0.3, 2))
    assert numbers(same) == [0, 2]
    assert numbers(rows(("finished", 0.1, 1), ("finished", 0.2, 1))) == [0]


def test_a_sweep_without_a_finished_score_has_no_contender():
    assert numbers(rows(("killed", 0.1, 1), ("failed", 0.2, 2), ("finished", None, 3))) == []
    assert numbers(Rows("val/loss", "min")) == []

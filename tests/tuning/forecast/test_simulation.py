"""A sweep played through: times that can be worked out by hand, and the sweep's own rules."""

from __future__ import annotations

import random

import pytest
from paceline.platform.configuration.options import Sweep
from paceline.tuning.budget import Budget
from paceline.tuning.forecast.simulation import Pace, Played, Simulation, population_seconds
from paceline.tuning.population.judge import make_judge
from paceline.tuning.stopping.rules import make_rule


def play(
    count: int,
    *,
    width: int = 2,
    horizon: float = 9,
    scheduler: str = "none",
    scores: list[float] | None = None,
    paces: list[Pace] | None = None,
    in_order: bool = True,
    mode: str = "min",
    **budget: float,
) -> Played:
    rule = make_rule(Sweep(scheduler=scheduler, mode=mode), horizon)  # type: ignore[arg-type]
    return Simulation(
        lambda rows: make_judge(rule, rows, in_order=in_order),
        paces or [Pace(1.0, 0.5)] * count,
        scores or [float(number) for number in range(count)],
        width=width,
        horizon=horizon,
        budget=Budget(count, **budget),  # type: ignore[arg-type]
        mode=mode,
    ).run()


@pytest.mark.parametrize(
    ("count", "width", "waves"), [(1, 2, 1), (2, 2, 1), (3, 2, 2), (8, 2, 4), (7, 3, 3)]
)
def test_without_a_rule_equal_trials_run_in_whole_waves(count: int, width: int, waves: int):
    played = play(count, width=width)
    assert played.seconds == pytest.approx(waves * (1.0 + 9 * 0.5))
    assert (played.completed, played.units) == (count, 9 * count)


def test_halving_stops_all_but_the_best_third_of_those_before():
    # Ascending scores: each trial is worse than all before it. In order, of k that came, ceil(k/3)
    # go on: the first goes on, and so does no other until the 4th place would be among the best.
    played = play(9, scheduler="asha")
    assert dict(played.stopped_at) == {1.0: 8}
    assert played.completed == 1
    assert played.units == 8 * 1 + 9


def test_descending_scores_are_never_stopped():
    played = play(9, scheduler="asha", scores=[9.0 - n for n in range(9)])
    assert played.completed == 9
    assert not played.stopped_at


def test_the_larger_score_wins_where_the_metric_is_maximised():
    # What is drawn is a rank, the smaller the better, whatever the metric's direction.
    assert play(9, scheduler="asha", mode="max").completed == 1


def test_early_stopping_takes_less_time_and_fewer_epochs():
    scores = [random.Random(n).random() for n in range(40)]
    all_of_them, halved = play(40, scores=scores), play(40, scores=scores, scheduler="asha")
    assert halved.units < 0.6 * all_of_them.units
    assert halved.seconds < all_of_them.seconds
    assert halved.completed + sum(halved.stopped_at.values()) == 40


def test_in_order_as_many_are_stopped_at_any_width():
    scores = [random.Random(n).random() for n in range(30)]
    uneven = [Pace(1.0, 0.5 + n % 4) for n in range(30)]  # the slow are waited for
    given = {"scores": scores, "scheduler": "asha", "paces": uneven}
    found = [play(30, width=w, **given) for w in (1, 2, 7, 30)]
    assert len({tuple(sorted(one.stopped_at.items())) for one in found}) == 1
    assert found[0].seconds > found[1].seconds > found[2].seconds


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median"])
@pytest.mark.parametrize("in_order", [True, False])
def test_every_trial_comes_to_an_end(scheduler: str, in_order: bool):
    scores = [random.Random(n).random() for n in range(25)]
    played = play(25, width=4, scheduler=scheduler, scores=scores, in_order=in_order)
    assert played.completed + sum(played.stopped_at.values()) == played.trials == 25


def test_nothing_begins_after_the_deadline_and_what_runs_ends_there():
    played = play(10, paces=[Pace(0.0, 1.0)] * 10, deadline=12.0)
    assert played.seconds == pytest.approx(12.0)
    assert (played.trials, played.completed, played.cut) == (4, 2, 2)
    assert played.units == pytest.approx(2 * 9 + 2 * 3)


def test_a_budget_of_epochs_ends_the_sweep():
    scores = [-float(n) for n in range(20)]  # nobody is stopped for being worse
    played = play(20, scheduler="asha", scores=scores, max_epochs=40)
    assert played.trials < 20
    assert played.units < 40 + 9


def test_a_population_meets_at_each_rung():
    # 3 members, 2 places: each generation is two rounds of overhead and its stretch.
    found = population_seconds([Pace(1.0, 2.0)] * 3, [2.0, 4.0], 6.0, 2)
    assert found == pytest.approx(3 * 2 * (1.0 + 2 * 2.0))

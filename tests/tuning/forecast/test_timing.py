"""From the pace of a few configurations to that of a sweep, and between what its time may lie."""

from __future__ import annotations

import pytest
from paceline.platform.configuration.config import load
from paceline.tuning.budget import Budget
from paceline.tuning.forecast.calibration import Measured
from paceline.tuning.forecast.past_times import PastTimes
from paceline.tuning.forecast.simulation import Pace, Played
from paceline.tuning.forecast.timing import MAX_PLAYED, Paces, paces_of_past, play, sweep_seconds
from paceline.tuning.plan import Plan, plan_sweep


@pytest.fixture(scope="module")
def plan() -> Plan:
    changes = {"trainer.max_epochs": (10, ""), "sweep.scheduler": ("none", "")}
    return plan_sweep(load("mlp", changes, ()))


def measured(**given: float | None) -> Measured:
    known: dict = {"overhead_s": 1.0, "epoch_s": 2.0, "steps_per_s": 5.0, "steps_per_epoch": 10.0}
    return Measured(**{**known, **given}, checkpoint_bytes=0, steps=0)


def test_an_epochs_record_is_shared_by_its_steps():
    assert measured().pace("epoch", record_s=0.5) == Pace(1.0, 2.5)
    assert measured().pace("step", record_s=0.5) == Pace(1.0, 0.25)
    # Epochs that do not end have no validation to report.
    assert measured(epoch_s=None).pace("step", record_s=0.5) == Pace(1.0, 0.2)
    assert measured(epoch_s=None).pace("epoch", record_s=0.5) is None
    assert measured().pace("frames") is None


def test_the_range_holds_the_draws_and_how_far_estimates_were_off(plan: Plan):
    played = [Played(seconds=100.0), Played(seconds=200.0)]
    known = Paces([Pace(0.0, 1.0)], {}, 0, around_s=20.0, error=(0.5, 2.0))
    seconds = sweep_seconds(plan, known, 2, played)
    assert seconds == {"estimate": 170.0, "least": 60.0, "most": 440.0, "around": 20.0}


def test_times_of_a_record_are_told_more_closely_than_measured_ones(plan: Plan):
    past = paces_of_past(PastTimes("first", [Pace(1.0, 1.0), Pace(2.0, 3.0)], 10.0, 0), 5)
    assert [pace.per_unit_s for pace in past.paces] == [1.0, 3.0, 1.0, 3.0, 1.0]
    here = Paces(past.paces, {}, 0, around_s=past.around_s)
    near, far = (sweep_seconds(plan, known, 2, [Played(seconds=50.0)]) for known in (past, here))
    assert near is not None
    assert far is not None
    assert near["estimate"] == far["estimate"]
    assert far["least"] < near["least"] < near["estimate"] < near["most"] < far["most"]


def test_of_a_sweep_of_many_trials_the_first_are_played_and_stand_for_all(plan: Plan):
    count = 5 * MAX_PLAYED
    (played,) = play(plan, [Pace(0.0, 1.0)] * count, 2, Budget(count))
    assert (played.trials, played.completed) == (count, count)
    assert (played.units, played.seconds) == (count * 10, count * 10 / 2)
    # One that its budget ends there has been played whole.
    (cut,) = play(plan, [Pace(0.0, 1.0)] * count, 2, Budget(count, deadline=100.0))
    assert (cut.trials, cut.seconds) == (20, 100.0)

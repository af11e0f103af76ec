from __future__ import annotations

from types import SimpleNamespace

import pytest
from paceline.platform.options import Sweep
from paceline.tuning.schedule import make_scheduler, rungs
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler


@pytest.mark.parametrize(
    ("grace", "factor", "epochs", "expected"),
    [
        (1, 3, 30, [1, 3, 9, 27]),
        (1, 3, 27, [1, 3, 9]),
        (1, 3, 28, [1, 3, 9, 27]),
        (2, 4, 30, [2, 8]),
        (5, 2, 5, []),
        (5, 2, 6, [5]),
    ],
)
def test_rungs_stand_before_the_last_epoch(grace, factor, epochs, expected):
    assert rungs(Sweep(grace_epochs=grace, reduction_factor=factor), epochs) == expected


@pytest.mark.parametrize("epochs", [6, 7, 27, 28, 30, 100])
def test_the_scheduler_s_rungs_are_the_ones_we_name(epochs):
    sweep = Sweep(grace_epochs=1, reduction_factor=3)
    scheduler = make_scheduler(sweep, epochs)
    assert isinstance(scheduler, ASHAScheduler)
    milestones = [milestone for milestone, _ in scheduler._brackets[0]._rungs]
    assert sorted(milestones) == rungs(sweep, epochs)


def test_none_and_a_single_epoch_stop_nothing():
    assert type(make_scheduler(Sweep(scheduler="none"), 30)) is FIFOScheduler
    assert type(make_scheduler(Sweep(), 1)) is FIFOScheduler
    assert isinstance(make_scheduler(Sweep(), -1), ASHAScheduler)
    assert isinstance(make_scheduler(Sweep(), None), ASHAScheduler)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_asha_stops_the_worse_trial_at_a_rung_and_nobody_at_the_end(mode):
    scheduler = make_scheduler(Sweep(mode=mode, reduction_factor=2), 4)
    good, bad = (SimpleNamespace(trial_id=name, config={}) for name in ("good", "bad"))
    sign = 1 if mode == "min" else -1
    for trial in (good, bad):
        scheduler.on_trial_add(None, trial)
    first = {"epoch": 1, "score": 0.1 * sign}
    assert scheduler.on_trial_result(None, good, first) == TrialScheduler.CONTINUE
    last = {"epoch": 4, "score": 9.0 * sign}
    assert scheduler.on_trial_result(None, good, last) == TrialScheduler.CONTINUE
    worse = {"epoch": 1, "score": 0.9 * sign}
    assert scheduler.on_trial_result(None, bad, worse) == TrialScheduler.STOP

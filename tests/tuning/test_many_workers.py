"""What the actor of a trial in several workers passes on between rank 0 and the sweep."""

from __future__ import annotations

from typing import Any

import pytest
from paceline.platform.configuration.options import Launch
from paceline.platform.errors import RunError
from paceline.platform.launch.failures import Failure
from paceline.platform.launch.worker import STOP
from paceline.tuning.capacity import actor_shape, concurrency
from paceline.tuning.many_workers import ManyWorkers

pytestmark = pytest.mark.ray  # Ray is imported, not started


class Sweep:
    """Notes what it was told, and stops a trial at a report if it is to."""

    def __init__(self, stops: bool = False):
        self.told: list[dict[str, Any]] = []
        self.stops = stops

    def report(self, result: dict[str, Any]) -> None:
        self.told.append(result)
        if self.stops:
            raise SystemExit(0)


def workers(sweep: Sweep) -> ManyWorkers:
    return ManyWorkers(sweep.report, {"number": 7}, has_pictures=False)


def test_reports_go_to_the_sweep_and_its_answer_comes_back():
    sweep = Sweep()
    assert workers(sweep).answer({"number": 7, "reports": [1]}) is None
    assert sweep.told == [{"number": 7, "reports": [1]}]


def test_a_trial_that_is_stopped_says_no_more_to_the_sweep():
    sweep = Sweep(stops=True)
    here = workers(sweep)
    assert here.answer({"number": 7, "reports": [1]}) == STOP
    assert here.is_stopped
    assert here.answer({"number": 7, "reports": [2]}) == STOP
    assert here.answer({"last": {"facts": {}, "is_late": False, "rest": []}}) is None
    assert len(sweep.told) == 1


def test_what_rank_0_knows_at_its_end_is_kept_for_the_last_word():
    sweep = Sweep()
    here = workers(sweep)
    here.answer({"last": {"facts": {"num_parameters": 3}, "is_late": True, "rest": [4, 5]}})
    assert (here.facts, here.is_late, sweep.told) == ({"num_parameters": 3}, True, [])
    assert here.unsent() == [4, 5]
    assert here.unsent() == []


def test_a_metric_that_no_trial_can_have_is_kept_as_what_it_is():
    here = workers(Sweep())
    here.answer({"fatal": {"what": "w", "where": "", "remedy": ""}})
    assert here.fatal == {"what": "w", "where": "", "remedy": ""}


@pytest.mark.parametrize(
    ("failure", "error"),
    [(Failure(RunError("It died.", "rank 1"), may_pass=True), "rank 1"), (None, "")],
)
def test_the_sweep_knows_that_workers_began_again(failure: Failure | None, error: str):
    sweep = Sweep()
    workers(sweep).begin_again(failure)
    assert sweep.told == [{"number": 7, "again": {"error": error}}]


def test_trials_of_two_workers_take_the_room_of_two_and_their_actors_none():
    launch = Launch(num_workers=2, cpus_per_worker=2)
    nodes = [{"CPU": 4.0}, {"CPU": 5.0}]
    assert concurrency(nodes, launch) == 2
    assert "CPU" not in actor_shape(launch)
    assert actor_shape(Launch(cpus_per_worker=2)) == {"CPU": 2, "GPU": 0.0}

from __future__ import annotations

from typing import Any, cast

from paceline.tuning.monitor import Monitor
from paceline.tuning.searcher import TrialSearcher
from ray.tune.search import Searcher


class Trials:
    """So many trials to begin; those that run may come back, until they are all over."""

    def __init__(self, count: int):
        self.count, self.begun, self.all_over = count, 0, False

    def may_begin(self) -> bool:
        return self.begun < self.count

    def is_over(self) -> bool:
        return self.all_over

    def begin(self) -> dict[str, Any]:
        self.begun += 1
        return {"number": self.begun - 1}


def searcher(trials: Trials, limit: int | None = None) -> TrialSearcher:
    return TrialSearcher(cast(Monitor, trials), limit)


def test_the_searcher_gives_each_trial_once_and_ends_when_none_can_come_back():
    trials = Trials(2)
    search = searcher(trials)
    assert search.suggest("a") == {"number": 0}
    assert search.suggest("b") == {"number": 1}
    assert search.suggest("c") is None
    trials.all_over = True
    assert search.suggest("c") == Searcher.FINISHED


def test_a_limit_on_living_trials_makes_the_searcher_wait():
    search = searcher(Trials(3), limit=1)
    assert search.suggest("a") == {"number": 0}
    assert search.suggest("b") is None
    search.on_trial_complete("a")
    assert search.suggest("b") == {"number": 1}

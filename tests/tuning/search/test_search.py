from __future__ import annotations

from paceline.tuning.searcher import TrialSearcher
from ray.tune.search import Searcher


def searcher(trials: int, limit: int | None = None) -> TrialSearcher:
    begun: list[int] = []

    def begin():
        begun.append(len(begun))
        return {"number": begun[-1]}

    return TrialSearcher(lambda: len(begun) < trials, begin, limit)


def test_the_searcher_gives_each_trial_once_and_then_ends():
    search = searcher(2)
    assert search.suggest("a") == {"number": 0}
    assert search.suggest("b") == {"number": 1}
    assert search.suggest("c") == Searcher.FINISHED


def test_a_limit_on_living_trials_makes_the_searcher_wait():
    search = searcher(3, limit=1)
    assert search.suggest("a") == {"number": 0}
    assert search.suggest("b") is None
    search.on_trial_complete("a")
    assert search.suggest("b") == {"number": 1}

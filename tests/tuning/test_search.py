from __future__ import annotations

import pytest
from paceline.platform.errors import UserError
from paceline.tuning.search import GridProposer, RandomProposer, TrialSearcher, make_proposer
from paceline.tuning.space import read_space
from ray.tune.search import Searcher

RANDOM = read_space({"model.x": {"uniform": [0, 1]}}, {})
GRID = read_space({"model.x": {"grid": [1, 2, 3]}, "model.y": {"choice": ["a", "b"]}}, {})


def test_random_search_proposes_as_many_as_wanted_and_always_the_same():
    one, two = make_proposer("random", RANDOM, 7, 20), make_proposer("random", RANDOM, 7, 30)
    assert isinstance(one, RandomProposer)
    assert one.count == 20
    assert one.propose(13) == two.propose(13)


def test_grid_search_ends_with_the_grid_or_with_the_trials():
    assert make_proposer("grid", GRID, 0, 100).count == 6
    assert make_proposer("grid", GRID, 0, 4).count == 4
    assert GridProposer(GRID, 100).propose(5) == {"model.x": 3, "model.y": "b"}


def test_a_grid_under_random_search_is_refused():
    with pytest.raises(UserError, match="no `grid` under random search") as caught:
        make_proposer("random", GRID, 0, 4)
    assert "--search grid" in caught.value.remedy


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

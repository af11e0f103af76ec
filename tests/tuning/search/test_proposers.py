from __future__ import annotations

import subprocess
import sys

import pytest
from paceline.platform.configuration.options import Sweep
from paceline.platform.errors import UserError
from paceline.tuning.search.proposers import GridProposer, RandomProposer, make_proposer
from paceline.tuning.search.space import read_space

RANDOM = read_space({"model.x": {"uniform": [0, 1]}, "model.n": {"randint": [1, 9]}}, {})
GRID = read_space({"model.x": {"grid": [1, 2, 3]}, "model.y": {"choice": ["a", "b"]}}, {})


def make(search: str, space=RANDOM, trials: int = 20, **options):
    """A proposer; `first` is what is tried first, the other options are the sweep's."""
    first = options.pop("first", ())
    return make_proposer(Sweep(search=search, **options), space, 7, trials, points=first)


def refused(*arguments, **options) -> UserError:
    with pytest.raises(UserError) as caught:
        make(*arguments, **options)
    return caught.value


def test_random_search_proposes_as_many_as_wanted_and_always_the_same(ended):
    one, two = make("random"), make("random", trials=30)
    assert isinstance(one, RandomProposer)
    assert (one.name, one.count, two.count) == ("random", 20, 30)
    two.tell(ended(0, {"model.x": 0.5, "model.n": 1}, 0.1))
    two.running(1, {"model.x": 0.6, "model.n": 1})
    assert one.propose(13) == two.propose(13) == RANDOM.sample(7, 13)


def test_grid_search_ends_with_the_grid_or_with_the_trials(ended):
    proposer = make("grid", GRID, 100)
    assert isinstance(proposer, GridProposer)
    assert (proposer.name, proposer.count) == ("grid", 6)
    assert make("grid", GRID, 4).count == 4
    proposer.tell(ended(0, {"model.x": 1, "model.y": "a"}, 0.1))
    proposer.running(1, {"model.x": 1, "model.y": "b"})
    assert proposer.propose(5) == {"model.x": 3, "model.y": "b"}
    assert proposer.origin(5) == "grid"


@pytest.mark.parametrize("search", ["random", "tpe"])
def test_a_grid_under_a_search_that_draws_is_refused(search):
    error = refused(search, GRID)
    assert f"no `grid` under {search} search" in error.what
    assert "--search grid" in error.remedy


def test_random_search_tries_points_first_and_draws_what_they_leave_out():
    proposer = make("random", first=[{"model.x": 0.25}, {"model.n": 3}])
    assert proposer.propose(0) == {**RANDOM.sample(7, 0), "model.x": 0.25}
    assert proposer.propose(1) == {**RANDOM.sample(7, 1), "model.n": 3}
    assert proposer.propose(2) == RANDOM.sample(7, 2)
    assert [proposer.origin(i) for i in range(3)] == ["point", "point", "random"]


def test_points_under_grid_search_are_refused_where_they_were_asked_for():
    point = {"model.x": 1}
    error = refused("grid", GRID, first=[point], like="earlier")
    assert "`sweep.like` must be left out under grid search" in error.what
    assert refused("grid", GRID, first=[point], points=[point]).where == "sweep.points"


def test_more_points_than_trials_are_refused_when_they_were_written_by_hand():
    points = [{"model.x": 0.1}, {"model.x": 0.2}]
    error = refused("random", trials=1, points=points, first=points)
    assert "at most as many points as there are trials (1), but is 2" in error.what
    assert error.remedy == "--trials 2"
    assert make("random", trials=1, like="earlier", first=points).count == 1


@pytest.mark.parametrize(("search", "space"), [("random", RANDOM), ("grid", GRID)])
def test_arguments_of_a_search_that_has_none_are_refused(search, space):
    error = refused(search, space, search_args={"n_startup_trials": 5})
    assert f"empty under {search} search" in error.what
    assert error.where == "sweep.search_args"


@pytest.mark.parametrize("search", ["random", "grid"])
def test_objectives_are_no_matter_of_a_search_that_does_not_learn(search):
    space = GRID if search == "grid" else RANDOM
    assert make(search, space, objectives={"seconds": "min"}).propose(0)


@pytest.mark.parametrize(("search", "absent"), [("random", "optuna ray"), ("tpe", "ray")])
def test_a_search_imports_no_searcher_but_its_own(search, absent):
    code = (
        "import sys\n"
        "from paceline.platform.configuration.options import Sweep\n"
        "from paceline.tuning.search.proposers import make_proposer\n"
        "from paceline.tuning.search.space import read_space\n"
        "space = read_space({'x': {'uniform': [0, 1]}}, {})\n"
        f"make_proposer(Sweep(search={search!r}), space, 0, 4).propose(0)\n"
        f"print([name for name in {absent.split()!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

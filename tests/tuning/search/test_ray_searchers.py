from __future__ import annotations

import math
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
from paceline.platform.configuration.options import Sweep
from paceline.platform.errors import UserError
from paceline.tuning.search.axes import encode
from paceline.tuning.search.proposers import make_proposer
from paceline.tuning.search.ray_classes import KNOWN
from paceline.tuning.search.ray_searchers import RayProposer
from paceline.tuning.search.space import Space, read_space

OPTUNA = "ray.tune.search.optuna.OptunaSearch"
MIXED = read_space(
    {
        "model.x": {"uniform": [0, 1]},
        "rate": {"loguniform": [1e-4, 1]},
        "width": {"quniform": [0, 0.5, 0.1]},
        "count": {"randint": [1, 4]},
        "option": {"choice": ["a", None, [1], {"k": 2}]},
    },
    {},
)
REAL = MIXED.select(["model.x", "rate"])
X = read_space({"x": {"uniform": [0, 1]}}, {})


def needs(package: str):
    reason = f"needs the package {package}"
    return pytest.mark.skipif(find_spec(package) is None, reason=reason)


# Import path, arguments, a space that the class takes.
SEARCHERS = [
    pytest.param(OPTUNA, {}, MIXED, id="optuna"),
    pytest.param(
        "ray.tune.search.hyperopt.HyperOptSearch",
        {"n_initial_points": 5},
        MIXED,
        id="hyperopt",
        marks=needs("hyperopt"),
    ),
    pytest.param(
        "ray.tune.search.bayesopt.BayesOptSearch",
        {"random_search_steps": 6},
        REAL,
        id="bayesopt",
        marks=needs("bayes_opt"),
    ),
    pytest.param(
        "ray.tune.search.nevergrad.NevergradSearch",
        {"optimizer": "nevergrad.optimizers.OnePlusOne"},
        MIXED,
        id="nevergrad",
        marks=needs("nevergrad"),
    ),
]


def ray(search=OPTUNA, space: Space = MIXED, *, trials=20, seed=0, first=(), **options):
    proposer = make_proposer(Sweep(search=search, **options), space, seed, trials, points=first)
    assert isinstance(proposer, RayProposer)
    return proposer


def refused(*arguments, **options) -> UserError:
    with pytest.raises(UserError) as caught:
        ray(*arguments, **options)
    return caught.value


def loss(values) -> float:
    return abs(values["model.x"] - 0.7) + abs(math.log10(values["rate"]) + 2)


@pytest.mark.parametrize(("search", "arguments", "space"), SEARCHERS)
def test_a_searcher_proposes_values_of_the_space_and_learns(ended, search, arguments, space):
    proposer = ray(search, space, search_args=arguments)
    assert proposer.name == search.rpartition(".")[2]
    seen = []
    for number in range(20):
        values = proposer.propose(number)
        assert [*values] == [knob.name for knob in space.knobs]
        for knob in space.knobs:
            encode(knob.draws, values[knob.name])  # raises for what the knob never gives
        seen.append(values)
        proposer.tell(ended(number, values, [2 + loss(values), loss(values)]))
    assert sum(seen.count(values) == 1 for values in seen) >= 18
    assert proposer.origin(5) == proposer.name


@pytest.mark.parametrize(("search", "arguments", "space"), SEARCHERS)
def test_points_come_first_exactly_as_they_were_given(ended, search, arguments, space):
    points = [{"model.x": 0.25, "rate": 0.001}, {"rate": 0.3}]
    proposer = ray(search, space, search_args=arguments, first=points)
    for number, point in enumerate(points):
        values = proposer.propose(number)
        assert values == {**space.sample(0, number), **point}
        assert proposer.origin(number) == "point"
        proposer.tell(ended(number, values, loss(values)))
    assert proposer.propose(2) is not None
    assert proposer.origin(2) == proposer.name


@pytest.mark.parametrize(("search", "arguments", "space"), SEARCHERS)
def test_a_resumed_sweep_gets_as_many_as_were_missing_each_once(ended, search, arguments, space):
    points = [{"model.x": 0.5}, {"model.x": 0.6}, {"model.x": 0.7}]
    options = {"search_args": arguments, "first": points, "trials": 12}
    begun = [values for values in map(ray(search, space, **options).propose, range(2)) if values]
    second = ray(search, space, **options)
    second.tell(ended(0, begun[0], loss(begun[0])))
    second.running(1, begun[1])
    for number in range(2, second.count):
        values = second.propose(number)
        assert values is not None
        assert number > 2 or values["model.x"] == 0.7  # the point that was not begun
        begun.append(values)
        if number == 4:
            second.tell(ended(1, begun[1], loss(begun[1])))
        failed = {"status": "failed", "reason": ""} if number == 6 else {}
        second.tell(ended(number, values, None if failed else loss(values), **failed))
    assert len(begun) == 12
    assert len({values["rate"] for values in begun}) == 12


@pytest.mark.parametrize(("search", "arguments", "space"), SEARCHERS[:3])
def test_a_seed_gives_the_same_proposals_and_a_resumed_sweep_does_not_repeat_them(
    ended, search, arguments, space
):
    def proposals(seed: int) -> list[float]:
        proposer = ray(search, space, seed=seed, search_args=arguments)
        return [(proposer.propose(number) or {})["rate"] for number in range(5)]

    first = proposals(0)
    assert first == proposals(0)
    assert not {*first} & {*proposals(1)}
    second = ray(search, space, search_args=arguments)
    values = space.sample(9, 0)
    second.tell(ended(0, values, loss(values)))
    assert not {*first} & {(second.propose(number) or {})["rate"] for number in range(1, 5)}


@pytest.mark.parametrize(("search", "arguments", "space"), SEARCHERS[:2])
def test_both_ends_of_whole_numbers_are_proposed(search, arguments, space):
    proposer = ray(search, space, search_args=arguments, trials=80)
    proposed = [proposer.propose(number) or {} for number in range(80)]
    assert {values["count"] for values in proposed} == {1, 2, 3, 4}
    assert {values["width"] for values in proposed} == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}
    assert {str(values["option"]) for values in proposed} == {"a", "None", "[1]", "{'k': 2}"}


def test_what_an_earlier_driver_saw_teaches_a_new_searcher(ended):
    for target in (0.15, 0.85):
        proposer = ray(space=X, trials=60)
        for number in range(20):
            x = number / 19
            proposer.tell(ended(number, {"x": x}, abs(x - target)))
        inside = 0
        for number in range(20, 40):
            x = proposer.propose(number)["x"]
            proposer.tell(ended(number, {"x": x}, abs(x - target)))
            inside += abs(x - target) < 0.2
        assert inside >= 15  # 7 of 20 by chance, all with each of 20 seeds


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_metrics_direction_reaches_the_searcher(ended, mode):
    proposer = ray(space=X, trials=60, mode=mode)
    for number in range(20):
        x = proposer.propose(number)["x"]
        proposer.tell(ended(number, {"x": x}, x))
    later = [proposer.propose(number)["x"] for number in range(20, 40)]
    assert (sum(later) < 10) == (mode == "min")


@needs("bayes_opt")
def test_a_searcher_that_waits_for_a_trial_that_was_killed_goes_on(ended):
    """BayesOptSearch counts it among its first, and then waits for its result."""
    search = "ray.tune.search.bayesopt.BayesOptSearch"
    proposer = ray(search, REAL, search_args={"random_search_steps": 4})
    for number in range(4):
        values = proposer.propose(number)
        killed = {"status": "killed", "reason": ""} if number == 2 else {}
        if number == 3:
            assert proposer.propose(4) is None  # it waits while a trial runs
            assert proposer.count == 20
        proposer.tell(ended(number, values, None if killed else loss(values), **killed))
    assert proposer.propose(4) is not None


def test_samplers_are_built_from_their_class_paths():
    sampler = {"class_path": "optuna.samplers.RandomSampler", "init_args": {"seed": 3}}
    one, two = (ray(space=REAL, seed=s, search_args={"sampler": sampler}) for s in (0, 1))
    assert one.propose(0) == two.propose(0)
    assert one.propose(1) != ray(space=REAL).propose(1)


# Searchers of somebody else's package.
OTHERS = """
from ray.tune.search import Searcher

class Counts(Searcher):
    def __init__(self, step, metric=None, mode=None, points_to_evaluate=None):
        super().__init__(metric, mode)
        self.step, self.told, self.points = step, {}, list(points_to_evaluate or [])
    def set_search_properties(self, metric, mode, config, **spec):
        self.names = list(config)
        return True
    def suggest(self, trial_id):
        if self.points:
            return self.points.pop(0)
        return dict.fromkeys(self.names, self.step * (1 + int(trial_id)))
    def on_trial_result(self, trial_id, result):
        self.told.setdefault(trial_id, []).append(result["val/loss"])
    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.setdefault(trial_id, []).append("error" if error else result["val/loss"])

class Ends(Counts):
    def suggest(self, trial_id):
        return super().suggest(trial_id) if int(trial_id) < 3 else Searcher.FINISHED

class Waits(Counts):
    def suggest(self, trial_id):
        return super().suggest(trial_id) if int(trial_id) < 3 else None

class Forgets(Counts):
    def suggest(self, trial_id):
        self.points.clear()
        return super().suggest(trial_id)

class Deaf(Searcher):
    def __init__(self):
        super().__init__()
    def set_search_properties(self, metric, mode, config, **spec):
        return True
    def suggest(self, trial_id):
        return {"x0": 0.5}

class Own(Searcher):
    pass

class Other:
    pass
"""


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "other_searchers.py").write_text(textwrap.dedent(OTHERS))
    monkeypatch.syspath_prepend(tmp_path)
    return "other_searchers"


def test_a_searcher_hears_what_tune_would_tell_it(ended, others):
    proposer = ray(f"{others}.Counts", X, search_args={"step": 0.1})
    assert [proposer.propose(number) for number in range(5)] == [
        {"x": pytest.approx(0.1 * (number + 1))} for number in range(5)
    ]
    proposer.tell(ended(0, {"x": 0.1}, [3.0, math.nan, 2.0]))
    proposer.tell(ended(1, {"x": 0.2}, [3.0, 4.0], reason="early_stopped"))
    proposer.tell(ended(2, {"x": 0.3}, None, "failed", ""))
    proposer.tell(ended(3, {"x": 0.4}, [1.0, math.nan], reason="diverged"))
    proposer.tell(ended(4, {"x": 0.5}, [1.0], "killed", ""))
    heard = vars(proposer)["_searcher"].told
    # Failed and diverged are as bad as the worst that went well, which is 3.
    assert [*heard.values()] == [
        [3.0, 2.0, 2.0],
        [3.0, 4.0, 3.0],
        [3.0],
        [1.0, 3.0],
        [1.0, "error"],
    ]


@pytest.mark.parametrize("kind", ["Ends", "Waits"])
def test_a_searcher_that_has_no_more_ends_the_sweep(ended, others, kind, caplog):
    proposer = ray(f"{others}.{kind}", X, search_args={"step": 0.1})
    for number in range(3):
        values = proposer.propose(number)
        if number == 2 and kind == "Waits":
            assert proposer.propose(3) is None  # while a trial runs it may still wait for it
            assert proposer.count == 20
        proposer.tell(ended(number, values, 1.0))
    assert proposer.propose(3) is None
    assert proposer.count == 3
    assert ("proposes no more than 3 trials" in caplog.text) == (kind == "Waits")


def test_a_searcher_that_takes_no_points_cannot_be_resumed(ended, others):
    row = ended(0, {"x": 0.5}, 1.0)
    with pytest.raises(UserError, match="can be told of earlier trials, but is 'Deaf'") as caught:
        ray(f"{others}.Deaf", X).tell(row)
    assert caught.value.where == "sweep.search"
    assert "--like" in caught.value.remedy
    with pytest.raises(UserError, match="can be told of earlier trials"):
        ray(f"{others}.Deaf", X).running(0, row.values)
    error = refused(f"{others}.Deaf", X, first=[{"x": 0.5}], points=[{"x": 0.5}])
    assert "left out under Deaf, which takes no points" in error.what
    assert error.where == "sweep.points"


def test_a_searcher_that_forgets_its_points_cannot_be_resumed(ended, others):
    proposer = ray(f"{others}.Forgets", X, search_args={"step": 0.1})
    proposer.tell(ended(0, {"x": 0.7}, 1.0))
    with pytest.raises(UserError, match="can be told of earlier trials, but is 'Forgets'"):
        proposer.propose(1)


def test_wrong_classes_and_arguments_are_refused_at_their_keys(others):
    for search, options, words, where in [
        (f"{others}.Other", {}, "a class of ray.tune.search.Searcher", "sweep.search"),
        (f"{others}.Own", {}, "a searcher that takes the space, but is 'Own'", "sweep.search"),
        (f"{others}.Nobody", {}, "a class that can be imported", "sweep.search"),
        ("nowhere.Nobody", {}, "a class that can be imported", "sweep.search"),
        (f"{others}.Counts", {}, "given `step`, which Counts needs", "sweep.search_args"),
        (OPTUNA, {"search_args": {"sed": 3}}, "a known name, but is 'sed'", "sweep.search_args"),
        (OPTUNA, {"search_args": {"mode": "min"}}, "as `sweep.mode` says it", "sweep.search_args"),
        (
            OPTUNA,
            {"search_args": {"sampler": "optuna.samplers.TPESampler"}},
            "arguments that OptunaSearch takes",
            "sweep.search_args",
        ),
        (
            OPTUNA,
            {"search_args": {"sampler": {"class_path": "optuna.samplers.Nobody"}}},
            "the path of what can be imported, but is 'optuna.samplers.Nobody'",
            "sweep.search_args",
        ),
        (
            OPTUNA,
            {"search_args": {"sampler": {"class_path": "optuna.samplers.GridSampler"}}},
            "what can be built",
            "sweep.search_args",
        ),
        (
            OPTUNA,
            {"objectives": {"seconds": "min"}},
            "empty under OptunaSearch",
            "sweep.objectives",
        ),
    ]:
        error = refused(search, X, **options)
        assert words in error.what
        assert error.where == where


@pytest.mark.parametrize(
    ("search", "remedy"),
    [
        ("tpee", "tpe"),
        ("optuna.OptunaSearch", ""),
        ("ray.tune.search.optuan.OptunaSearch", OPTUNA),
        ("ray.tune.search.optuna.OptunaSerch", OPTUNA),
        ("ray.tune.search.hyperopt.HyperOpt", KNOWN[1]),
    ],
)
def test_an_unknown_searcher_lists_the_nearest(search, remedy):
    error = refused(search)
    assert error.where == "sweep.search"
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("ray.tune.search.ConcurrencyLimiter", "a searcher that proposes by itself"),
        ("ray.tune.search.Repeater", "a searcher that proposes by itself"),
        ("ray.tune.search.basic_variant.BasicVariantGenerator", "a class of ray.tune.search"),
        ("ray.tune.search.bohb.TuneBOHB", "needs no scheduler of its own"),
    ],
)
def test_a_class_of_tune_that_cannot_propose_alone_is_refused(search, words):
    error = refused(search, X)
    assert words in error.what
    assert error.where == "sweep.search"


@pytest.mark.parametrize(
    ("search", "package", "command"),
    [
        ("ray.tune.search.hyperopt.HyperOptSearch", "hyperopt", "pip install hyperopt"),
        ("ray.tune.search.bayesopt.BayesOptSearch", "bayes_opt", "bayesian-optimization==1.4.3"),
        ("ray.tune.search.nevergrad.NevergradSearch", "nevergrad", "pip install nevergrad"),
        ("ray.tune.search.ax.AxSearch", "ax", "pip install ax-platform"),
        ("ray.tune.search.hebo.HEBOSearch", "hebo", "pip install 'HEBO>=0.2.0'"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_gets_it(search, package, command):
    if find_spec(package) is not None:
        pytest.skip(f"the package {package} is installed")
    error = refused(search, REAL)
    assert "a searcher whose package is installed" in error.what
    assert command in error.remedy
    assert error.where == "sweep.search"


def test_a_space_with_conditions_is_refused():
    knobs = {"a": {"choice": [1, 2]}, "b": {"uniform": [0, 1], "when": {"a": 1}}}
    error = refused(OPTUNA, read_space(knobs, {}))
    assert error.what == (
        "`sweep.search` must be one that takes conditions, such as `b` has, but is 'OptunaSearch'."
    )
    assert error.remedy == "tpe or random, or leave b out with --vary"


def test_a_grid_under_a_searcher_is_refused():
    error = refused(OPTUNA, read_space({"x": {"grid": [1, 2]}}, {}))
    assert "no `grid` under OptunaSearch search" in error.what


@needs("bayes_opt")
def test_knobs_that_a_class_does_not_take_are_refused():
    error = refused("ray.tune.search.bayesopt.BayesOptSearch", MIXED)
    assert "`sweep.search` must be a searcher that takes the space, but is 'BayesOpt" in error.what
    assert "does not support parameters of type `Integer`" in error.what
    assert error.where == "sweep.search"

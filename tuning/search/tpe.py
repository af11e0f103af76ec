"""Proposals that learn from results: Optuna's tree-structured Parzen estimator.

TPE models where the good trials lie and where all others do, and proposes where the first is dense
and the second is not (Bergstra, Bardenet, Bengio, Kégl 2011, section 4). With several objectives
the good ones are those nearest to the Pareto front.

The study lives in memory and is rebuilt from the sweep's rows. The sampler of each proposal is
seeded from the sweep's seed and the trial's number: what is proposed depends on these and on what
was told, so that a sweep which tries one trial at a time is the same with and without
interruptions, and a resumed one never repeats the draws it began with.

What Optuna hears: a trial that ran to its end or to a budget has values; one that was stopped early
is pruned, with the scores on its way; one that diverged is pruned without any, which ranks it last;
one that failed or was killed says nothing about its configuration.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import TrialState

from ...platform.configuration.options import Sweep
from ...platform.errors import UserError, must, unknown
from ..rows import TrialRow
from .axes import axis, check_axes, decode, encode
from .distributions import Distribution
from .knobs import Knob
from .space import Space, unit

ARGUMENTS: Mapping[str, type] = {
    "n_startup_trials": int,
    "n_ei_candidates": int,
    "multivariate": bool,
    "group": bool,
    "constant_liar": bool,
}
_DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
_LEAST = {"n_startup_trials": 0, "n_ei_candidates": 1}
_EXPERIMENTAL = r"Argument ``(multivariate|group|constant_liar)`` is an experimental feature"


class TPEProposer:
    """Optuna's TPE over a space.

    Args:
        sweep: Its metric, objectives and `search_args`: `n_startup_trials` (10 trials are drawn at
            random first), `n_ei_candidates` (24), `multivariate` (true with one objective),
            `group` (true where knobs have conditions), `constant_liar` (true: keep away from
            trials that still run).
        space: The space.
        seed: The sweep's seed.
        trials: How many are wanted.
        points: Configurations of the first trials; the knobs that they leave out are proposed.

    Raises:
        UserError: The space holds what Optuna cannot take, or an argument is wrong.
    """

    name = "tpe"

    def __init__(
        self,
        sweep: Sweep,
        space: Space,
        seed: int,
        trials: int,
        points: Sequence[Mapping[str, Any]] = (),
    ):
        check_axes(space, self.name)
        self.space, self.seed, self.count, self.points = space, seed, trials, points
        self.objectives = {sweep.metric: sweep.mode, **sweep.objectives}
        self.arguments = sampler_arguments(sweep, space)
        self._open: dict[int, optuna.Trial] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # else each study is announced
        self.study = optuna.create_study(
            directions=[_DIRECTIONS[mode] for mode in self.objectives.values()],
            sampler=self._sampler(0),
        )

    def _sampler(self, number: int) -> optuna.samplers.TPESampler:
        seed = int(unit(self.seed, number, "tpe") * 2**32)
        with warnings.catch_warnings():
            kind = optuna.exceptions.ExperimentalWarning
            warnings.filterwarnings("ignore", _EXPERIMENTAL, kind)
            return optuna.samplers.TPESampler(seed=seed, **self.arguments)

    def propose(self, number: int) -> dict[str, Any]:
        """Knob values of trial `number`."""
        return self._begin(number, self.points[number] if number < len(self.points) else {})

    def origin(self, number: int) -> str:
        """`point` or `tpe`."""
        return "point" if number < len(self.points) else self.name

    def running(self, number: int, values: Mapping[str, Any]) -> None:
        """A trial of an earlier driver goes on: it is running for Optuna too."""
        self._begin(number, values)

    def _begin(self, number: int, given: Mapping[str, Any]) -> dict[str, Any]:
        """Open a trial with these values, the other knobs proposed."""
        self.study.sampler = self._sampler(number)
        if given:
            self.study.enqueue_trial(self._encoded(given))
        trial = self._open[number] = self.study.ask()
        return self.space.fill(lambda knob, _: decode(knob.draws, _suggest(trial, knob)))

    def tell(self, row: TrialRow) -> None:
        """A trial is over."""
        outcome = outcome_of(row, [*self.objectives])
        trial = self._open.pop(row.number, None)
        if trial is None:
            self._add(row, outcome)
            return
        for step, score in outcome.steps.items():
            trial.report(score, step)
        self.study.tell(trial, outcome.values, outcome.state)

    def _add(self, row: TrialRow, outcome: Outcome) -> None:
        """Add a trial that an earlier driver saw end."""
        knobs = [knob for knob in self.space.knobs if knob.name in row.values]
        added = optuna.trial.create_trial(
            state=outcome.state,
            values=outcome.values,
            params=self._encoded(row.values),
            distributions={knob.name: line(knob.draws) for knob in knobs},
            intermediate_values=outcome.steps,
        )
        self.study.add_trial(added)

    def _encoded(self, values: Mapping[str, Any]) -> dict[str, float]:
        knobs = [knob for knob in self.space.knobs if knob.name in values]
        return {knob.name: encode(knob.draws, values[knob.name]) for knob in knobs}


class Outcome(NamedTuple):
    """How a trial ended, in Optuna's words.

    Args:
        state: COMPLETE, PRUNED or FAIL.
        values: The objectives' values of a COMPLETE trial.
        steps: Position on the time axis -> score, of one that was stopped early.
    """

    state: TrialState
    values: list[float] | None
    steps: dict[int, float]


def outcome_of(row: TrialRow, objectives: Sequence[str]) -> Outcome:
    """How a trial that is over ended; no value is ever NaN or infinite.

    With several objectives Optuna takes no scores on the way, and a trial that was cut short would
    look good by its `seconds`: it is pruned without any.
    """
    if row.stop_reason == "diverged":
        return Outcome(TrialState.PRUNED, None, {})
    if row.status != "finished":
        return Outcome(TrialState.FAIL, None, {})
    if row.stop_reason == "early_stopped":
        reports = [r for r in row.history if math.isfinite(r.score)] if len(objectives) == 1 else []
        return Outcome(TrialState.PRUNED, None, {int(r.at): r.score for r in reports})
    values = [value for name in objectives if (value := row.value_of(name)) is not None]
    if len(values) < len(objectives):
        return Outcome(TrialState.FAIL, None, {})
    return Outcome(TrialState.COMPLETE, values, {})


def line(draws: Distribution) -> BaseDistribution:
    """Optuna's distribution of the numbers that stand for a knob's values."""
    numbers = axis(draws)
    if numbers.kind == "index":
        return CategoricalDistribution(range(int(numbers.high) + 1))
    if numbers.kind == "whole":
        return IntDistribution(int(numbers.low), int(numbers.high))
    return FloatDistribution(numbers.low, numbers.high, log=numbers.kind == "log")


def _suggest(trial: optuna.Trial, knob: Knob) -> Any:
    """The number of a knob that a trial has or is given now."""
    numbers = axis(knob.draws)
    if numbers.kind == "index":
        return trial.suggest_categorical(knob.name, range(int(numbers.high) + 1))
    if numbers.kind == "whole":
        return trial.suggest_int(knob.name, int(numbers.low), int(numbers.high))
    is_log = numbers.kind == "log"
    return trial.suggest_float(knob.name, numbers.low, numbers.high, log=is_log)


def sampler_arguments(sweep: Sweep, space: Space) -> dict[str, Any]:
    """The arguments of `TPESampler`: those given, checked, over our defaults.

    Optuna's own defaults of three of them changed with its version 5.

    Raises:
        UserError: An unknown argument, or one of the wrong kind.
    """
    given, where = sweep.search_args, "sweep.search_args"
    for name, value in given.items():
        if name not in ARGUMENTS:
            raise unknown(where, name, ARGUMENTS, where)
        _check(f"{where}.{name}", ARGUMENTS[name], _LEAST.get(name, 0), value)
    multivariate = given.get("multivariate", not sweep.objectives)
    conditional = any(knob.when for knob in space.knobs)
    if given.get("group") and not multivariate:
        rule = "false where `multivariate` is, as it is with several objectives unless asked for"
        raise UserError(must(f"{where}.group", rule, True), where, "multivariate: true")
    ours = {
        "multivariate": multivariate,
        "group": multivariate and conditional,
        "constant_liar": True,
    }
    return ours | given


def _check(name: str, kind: type, least: int, value: Any) -> None:
    if kind is bool and not isinstance(value, bool):
        raise UserError(must(name, "true or false", value), name)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is int and not (is_whole and value >= least):
        raise UserError(must(name, f"a whole number from {least}", value), name)

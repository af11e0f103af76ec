"""Any searcher of `ray.tune.search` as a proposer.

What an earlier driver tried reaches a new searcher as points to evaluate, which it is asked for and
told the results of, one by one: nearly all of Tune's classes take such points, and few take results
in any other way.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.search import Searcher

from ...platform.configuration.options import Sweep
from ...platform.errors import UserError, must
from ..rows import TrialRow
from .axes import check_axes
from .points import complete
from .ray_classes import WHERE, build, check_space, constructor_arguments, searcher_class
from .ray_space import domains, is_same, numbers_of, values_of
from .space import Space, unit

logger = logging.getLogger("paceline.tuning")
_PATIENCE = 20  # askings in a row, while no trial runs, before a searcher counts as stuck


class RayProposer:
    """A searcher of Ray Tune over a space without conditions.

    Args:
        sweep: Its `search`, an import path, its `search_args`, metric and mode.
        space: The space.
        seed: The sweep's seed.
        trials: How many are wanted.
        points: Configurations of the first trials; the knobs that they leave out are drawn.

    Raises:
        UserError: The searcher cannot be built, or cannot do what is asked of it.
    """

    def __init__(
        self,
        sweep: Sweep,
        space: Space,
        seed: int,
        trials: int,
        points: Sequence[Mapping[str, Any]] = (),
    ):
        self.kind = searcher_class(sweep.search)
        logging.getLogger("optuna").setLevel(logging.WARNING)  # else each study is announced
        self.name = self.kind.__name__
        self.sweep, self.space, self.seed, self.count = sweep, space, seed, trials
        self.points = [complete(point, space, seed, i) for i, point in enumerate(points)]
        self._takes_points = "points_to_evaluate" in inspect.signature(self.kind).parameters
        self._check()
        self._searcher: Searcher | None = None
        self._known: dict[int, tuple[Mapping[str, Any], TrialRow | None]] = {}
        self._living: set[int] = set()

    def _check(self) -> None:
        """Say now what would otherwise be said by the first trial."""
        check_axes(self.space, self.name)
        check_space(self.kind, self.space)
        if self.sweep.objectives:
            rule = f"empty under {self.name}, which looks at one metric"
            where = "sweep.objectives"
            raise UserError(must(where, rule, self.sweep.objectives), where, "--search tpe")
        if self.points and not self._takes_points:
            where = "sweep.points" if self.sweep.points else "sweep.like"
            rule = f"left out under {self.name}, which takes no points to try first"
            raise UserError(must(where, rule, self.points[0]), where, "--search tpe")
        self._build(0, self.points)

    def _build(self, number: int, points: Sequence[Mapping[str, Any]]) -> Searcher:
        """A searcher whose first proposals are these, seeded for the trials from `number` on."""
        seed = int(unit(self.seed, number, self.name) * 2**31)
        arguments = constructor_arguments(self.kind, self.sweep.search_args, seed)
        if points:
            arguments["points_to_evaluate"] = [numbers_of(self.space, point) for point in points]
        metric, mode = self.sweep.metric, self.sweep.mode
        return build(self.kind, arguments, domains(self.space), metric, mode)

    def propose(self, number: int) -> dict[str, Any] | None:
        """Knob values of trial `number`; None while the searcher waits, or when it has no more."""
        searcher = self._searcher or self._begin(number)
        values = self._ask(searcher, number)
        if values is None and number < self.count and not self._living:
            # It waits for a result that will not come, as of a trial that was killed.
            values = self._ask(self._begin(number), number)
            if values is None:
                logger.warning("%s proposes no more than %d trials.", self.name, number)
                self.count = number
        if values is not None:
            self._known[number] = values, None
            self._living.add(number)
        return values

    def _ask(self, searcher: Searcher, number: int) -> dict[str, Any] | None:
        for _ in range(1 if self._living else _PATIENCE):
            suggested: Any = searcher.suggest(_trial_id(number))
            if suggested == Searcher.FINISHED:
                self.count = number
                return None
            if suggested is not None:
                break
        else:
            return None
        if number < len(self.points) and is_same(self.space, suggested, self.points[number]):
            return dict(self.points[number])  # without the rounding of its logarithms
        return values_of(self.space, suggested)

    def origin(self, number: int) -> str:
        """`point` or the searcher's class."""
        return "point" if number < len(self.points) else self.name

    def running(self, number: int, values: Mapping[str, Any]) -> None:
        """A trial of an earlier driver goes on.

        Raises:
            UserError: The searcher cannot be told of it.
        """
        self._learn(number, values, None)

    def tell(self, row: TrialRow) -> None:
        """A trial is over.

        Raises:
            UserError: It is one of an earlier driver, of which the searcher cannot be told.
        """
        if self._searcher is None:
            self._learn(row.number, row.values, row)
            return
        self._known[row.number] = row.values, row
        if row.number in self._living:
            self._living.discard(row.number)
            self._finish(self._searcher, row)

    def _learn(self, number: int, values: Mapping[str, Any], row: TrialRow | None) -> None:
        if not self._takes_points:
            raise self._cannot_learn()
        self._known[number] = values, row

    def _cannot_learn(self) -> UserError:
        what = must(WHERE, "a searcher that can be told of earlier trials", self.name)
        return UserError(what, WHERE, "a new sweep: --like NAME tries the best of this one first")

    def _begin(self, number: int) -> Searcher:
        """A new searcher that has been told all that is known."""
        told = {
            n: (values, row)
            for n, (values, row) in sorted(self._known.items())
            if row is None or self._score(row) is not None
        }
        points = [*(values for values, _ in told.values()), *self.points[number:]]
        searcher = self._build(number, points)
        self._living.clear()
        for n, (values, row) in told.items():
            suggested = searcher.suggest(_trial_id(n))
            if suggested is None:
                continue  # it has this configuration already
            if not is_same(self.space, suggested, values):
                raise self._cannot_learn()
            if row is None:
                self._living.add(n)
            else:
                self._finish(searcher, row)
        self._searcher = searcher
        return searcher

    def _finish(self, searcher: Searcher, row: TrialRow) -> None:
        """Tell a searcher of a trial's way and of its end, as Tune does."""
        trial_id, metric = _trial_id(row.number), self.sweep.metric
        for report in row.history:
            if math.isfinite(report.score):
                told = {**report.metrics, metric: report.score, "training_iteration": report.epoch}
                searcher.on_trial_result(trial_id, told)
        score = self._score(row)
        if score is None:
            searcher.on_trial_complete(trial_id, None, error=True)
        else:
            result = {**row.metrics, metric: score, "training_iteration": row.epoch}
            searcher.on_trial_complete(trial_id, result)

    def _score(self, row: TrialRow) -> float | None:
        """What a searcher is told of a trial; None: nothing, as of one that was killed.

        One that diverged or failed is as bad as the worst of those that did not. Told nothing,
        searchers that model the metric would propose its configuration again and again.
        """
        if _is_sound(row):
            return row.score
        scores = [known.score for _, known in self._known.values() if known and _is_sound(known)]
        worst = max if self.sweep.mode == "min" else min
        known = [score for score in scores if score is not None]
        return worst(known) if known and row.status != "killed" else None


def _trial_id(number: int) -> str:
    return f"{number:05d}"


def _is_sound(row: TrialRow) -> bool:
    """Whether a trial's score says how good its configuration is."""
    return row.status == "finished" and row.stop_reason != "diverged" and row.score is not None

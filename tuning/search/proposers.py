"""Who proposes a sweep's configurations: the contract, drawing at random, walking a grid. Pure.

A proposer knows a sweep by the numbers of its trials. One that is resumed or extended gets a new
proposer, which is told of every trial that is over, then of those that go on, and is asked for the
numbers behind them; nothing else is kept from before.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ...platform.configuration.options import Sweep
from ...platform.errors import UserError, must
from ..rows import TrialRow
from .points import complete
from .space import Space

MAX_GRID = 100_000
_BY_NAME = ("random", "grid", "tpe")


class Proposer(Protocol):
    """Says what trial number i is."""

    name: str
    """`random`, `grid`, `tpe`, or the class of a searcher."""

    count: int
    """How many trials it can propose at most; falls when a searcher says that it has no more."""

    def propose(self, number: int) -> dict[str, Any] | None:
        """Knob values of trial `number`, from 0; numbers are asked for in order.

        Returns:
            None when the searcher waits for results, or has no more (`count` is then `number`).
        """
        ...

    def origin(self, number: int) -> str:
        """Who proposes trial `number`: `point` for a point that is tried first, else `name`."""
        ...

    def running(self, number: int, values: Mapping[str, Any]) -> None:
        """A trial of an earlier driver goes on: it counts as proposed, and its end will be told.

        Raises:
            UserError: The searcher cannot be told of earlier trials.
        """
        ...

    def tell(self, row: TrialRow) -> None:
        """A trial is over, one that was proposed here or by an earlier driver.

        Raises:
            UserError: The searcher cannot be told of earlier trials.
        """
        ...


class _Independent:
    """A proposer whose proposals depend on no result."""

    def running(self, number: int, values: Mapping[str, Any]) -> None:
        """Nothing depends on it."""

    def tell(self, row: TrialRow) -> None:
        """Nothing depends on it."""


class RandomProposer(_Independent):
    """Independent draws; trial i depends on nothing but the seed and i.

    Args:
        space: The space.
        seed: The sweep's seed.
        trials: How many are wanted.
        points: Configurations of the first trials; the knobs that they leave out are drawn.
    """

    name = "random"

    def __init__(
        self, space: Space, seed: int, trials: int, points: Sequence[Mapping[str, Any]] = ()
    ):
        self.space, self.seed, self.count, self.points = space, seed, trials, points

    def propose(self, number: int) -> dict[str, Any]:
        """Knob values of trial `number`."""
        point = self.points[number] if number < len(self.points) else {}
        return complete(point, self.space, self.seed, number)

    def origin(self, number: int) -> str:
        """`point` or `random`."""
        return "point" if number < len(self.points) else self.name


class GridProposer(_Independent):
    """Every combination in order, the last knob turning fastest.

    Args:
        space: A space of lists only.
        trials: How many are wanted at most.
    """

    name = "grid"

    def __init__(self, space: Space, trials: int):
        self.combinations = [*itertools.islice(space.grid(), min(trials, MAX_GRID))]
        self.count = len(self.combinations)

    def propose(self, number: int) -> dict[str, Any]:
        """Knob values of trial `number`."""
        return self.combinations[number]

    def origin(self, number: int) -> str:
        """`grid`."""
        return self.name


def make_proposer(
    sweep: Sweep,
    space: Space,
    seed: int,
    trials: int,
    *,
    points: Sequence[Mapping[str, Any]] = (),
) -> Proposer:
    """The proposer that `sweep.search` names.

    Args:
        sweep: The options; `search`, `search_args`, `metric`, `mode`, `objectives` are read.
        space: The knobs that vary.
        seed: The sweep's seed.
        trials: How many trials there will be at most, those of earlier drivers included.
        points: What to try first, in this order, from `read_points` and then `points_of`; more
            than there are trials are not tried.

    Raises:
        UserError: The searcher is unknown, lacks its package, cannot take the space or the points,
            or its arguments are wrong.
    """
    where, count = "sweep.points" if sweep.points else "sweep.like", len(sweep.points)
    if count > trials:
        rule = f"at most as many points as there are trials ({trials})"
        raise UserError(must(where, rule, count), where, f"--trials {count}")
    if sweep.search in ("random", "grid") and sweep.search_args:
        rule = f"empty under {sweep.search} search, which has no arguments"
        raise UserError(must("sweep.search_args", rule, sweep.search_args), "sweep.search_args")
    if sweep.search == "grid":
        if points:
            rule = "left out under grid search, which proposes every combination once"
            raise UserError(must(where, rule, points[0]), where, "--search random or --search tpe")
        return GridProposer(space, trials)
    if sweep.search == "random":
        space.check_random()
        return RandomProposer(space, seed, trials, points)
    if sweep.search == "tpe":
        from .tpe import TPEProposer  # imports Optuna

        return TPEProposer(sweep, space, seed, trials, points)
    from .ray_searchers import RayProposer  # imports Ray

    return RayProposer(sweep, space, seed, trials, points)

"""How configurations are proposed, and the Ray searcher that hands them to Tune.

A proposer is pure: it answers trial number i. The searcher around it asks first whether the budget
allows another trial, and begins the trial's record in the driver before Tune ever sees the
configuration (Tune's `on_trial_start` comes after it has been shipped to an actor).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ray.tune.search import Searcher

from .space import Space

MAX_GRID = 100_000


class Proposer(Protocol):
    """Says what trial number i is."""

    count: int
    """How many trials it can propose at most."""

    def propose(self, number: int) -> dict[str, Any]:
        """Knob values of trial `number`, from 0."""
        ...


class RandomProposer:
    """Independent draws; trial i depends on nothing but the seed and i.

    Args:
        space: The space.
        seed: The sweep's seed.
        trials: How many are wanted.
    """

    def __init__(self, space: Space, seed: int, trials: int):
        self.space, self.seed, self.count = space, seed, trials

    def propose(self, number: int) -> dict[str, Any]:
        """Knob values of trial `number`."""
        return self.space.sample(self.seed, number)


class GridProposer:
    """Every combination in order, the last knob turning fastest.

    Args:
        space: A space of lists only.
        trials: How many are wanted at most.
    """

    def __init__(self, space: Space, trials: int):
        self.points = [*itertools.islice(space.grid(), min(trials, MAX_GRID))]
        self.count = len(self.points)

    def propose(self, number: int) -> dict[str, Any]:
        """Knob values of trial `number`."""
        return self.points[number]


def make_proposer(search: str, space: Space, seed: int, trials: int) -> Proposer:
    """The proposer that `sweep.search` names.

    Raises:
        UserError: The space cannot be enumerated, or it asks to be, but the search is random.
    """
    if search == "grid":
        return GridProposer(space, trials)
    space.check_random()
    return RandomProposer(space, seed, trials)


class TrialSearcher(Searcher):
    """Tune's view of a proposer.

    Args:
        may_begin: Whether the budget allows another trial.
        begin: Begins the record of the next trial and returns its configuration for the actor.
        max_living: Trials that are suggested and not over at a time; None: no limit of ours.
    """

    def __init__(
        self,
        may_begin: Callable[[], bool],
        begin: Callable[[], dict[str, Any]],
        max_living: int | None = None,
    ):
        super().__init__()
        self.may_begin, self.begin, self.max_living = may_begin, begin, max_living
        self._living: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next configuration, None for "not now", or FINISHED."""
        if self.max_living is not None and len(self._living) >= self.max_living:
            return None
        if not self.may_begin():
            return Searcher.FINISHED
        self._living.add(trial_id)
        return self.begin()

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Make room for another."""
        self._living.discard(trial_id)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of the sweep's record can be pickled, nor needs to be."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Tune wants a file; what must survive stands in the sweep's own journal."""
        Path(checkpoint_path).write_text(json.dumps({"living": sorted(self._living)}))

    def restore(self, checkpoint_path: str) -> None:
        """Sweeps are restored from the journal, never from Tune's snapshot."""
        raise NotImplementedError("a sweep is restored from its journal")

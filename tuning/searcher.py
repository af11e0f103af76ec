"""Tune's view of a proposer: a searcher that begins each trial's record before Tune sees it.

The searcher asks first whether the budget allows another trial, and begins the trial's record in
the driver (Tune's `on_trial_start` comes after the configuration was shipped to an actor).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher


class TrialSearcher(Searcher):
    """Tune's view of a proposer.

    Args:
        may_begin: Whether the budget allows another trial.
        begin: Begins the record of the next trial and returns its configuration for the actor;
            None: not now.
        max_living: Trials that are suggested and not over at a time; None: no limit of ours.
    """

    def __init__(
        self,
        may_begin: Callable[[], bool],
        begin: Callable[[], dict[str, Any] | None],
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
        suggestion = self.begin()
        if suggestion is not None:
            self._living.add(trial_id)
        return suggestion

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

"""Tune's view of a proposer: a searcher that begins each trial's record before Tune sees it.

The searcher asks first whether the budget allows another trial, and begins the trial's record in
the driver (Tune's `on_trial_start` comes after the configuration was shipped to an actor).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from .monitor import Monitor


class TrialSearcher(Searcher):
    """Tune's view of a proposer.

    Args:
        monitor: Says whether another trial may begin, begins its record, and knows whether any
            will come later.
        max_living: Trials that are suggested and not over at a time; None: no limit of ours.
    """

    def __init__(
        self,
        monitor: Monitor,
        max_living: int | None = None,
    ):
        super().__init__()
        self.monitor, self.max_living = monitor, max_living
        self._living: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next configuration, None for "not now", or FINISHED."""
        if self.max_living is not None and len(self._living) >= self.max_living:
            return None
        if not self.monitor.may_begin():
            # Tune never asks again after FINISHED; one that runs may yet have to go on elsewhere.
            return Searcher.FINISHED if self.monitor.is_over() else None
        suggestion = self.monitor.begin()
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

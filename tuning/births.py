"""Trials get their MLflow runs, beside Tune's loop.

A run's id is the store's to give. While the store is away no trial can begin; those that train
train on, because nobody waits here for longer than a moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillBusy

from ..platform.errors import RunError
from ..platform.tracking.passing import is_passing
from .rows import TrialRow

logger = logging.getLogger("paceline.tuning")
MOMENT_S = 2.0


class Births:
    """Creates the runs of trials, one at a time.

    Args:
        create: Creates a trial's run and gives its id; it may be called again after it failed.
    """

    def __init__(self, create: Callable[[TrialRow], str]):
        self._create = create
        self._thread = ThreadPoolExecutor(1, "paceline-births")
        self._asked: dict[int, Future[str]] = {}  # by the trial's number
        self._is_told = False

    def run_of(self, row: TrialRow) -> str | None:
        """The id of a trial's new run; None: the store is away, ask again later.

        Raises:
            RunError: The store answers, and refuses.
        """
        asked = self._asked.get(row.number) or self._thread.submit(self._create, row)
        self._asked[row.number] = asked
        try:
            run_id = asked.result(MOMENT_S)
        except StillBusy:
            return None
        except RunError as error:
            del self._asked[row.number]
            if not is_passing(error):
                raise
            if not self._is_told:
                logger.warning("Trial %s waits for its run: %s", row.trial_id, error.what)
            self._is_told = True
            return None
        del self._asked[row.number]
        self._is_told = False
        return run_id

    def close(self) -> None:
        """Wait for no run any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

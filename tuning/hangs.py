"""Trials that hang: they did not end by themselves after their time limit."""

from __future__ import annotations

from .rows import Rows, TrialRow

GRACE_S = 15.0  # what a trial may take beyond its limit to end by itself


class Hangs:
    """Names each trial that hangs, once.

    Args:
        rows: The sweep's trials.
        limit: Seconds that one trial may take; None: as long as it likes.
    """

    def __init__(self, rows: Rows, limit: float | None):
        self.rows, self.limit = rows, limit
        self._told: dict[int, str] = {}

    def why(self, number: int) -> str | None:
        """What a trial that hung has failed of; None: it did not."""
        return self._told.get(number)

    def new(self, now: float) -> list[int]:
        """Numbers of the trials that hang since the last time.

        Args:
            now: Unix time in seconds.
        """
        if self.limit is None:
            return []
        found = [row.number for row in self.rows if self._hangs(row, now, self.limit)]
        for number in found:
            self._told[number] = f"HungTrial: no end {GRACE_S:.0f} s after {self.limit:g} s"
        return found

    def _hangs(self, row: TrialRow, now: float, limit: float) -> bool:
        if row.status != "running" or row.begun_at is None or row.number in self._told:
            return False
        return now - row.begun_at > max(0.0, limit - row.spent) + GRACE_S

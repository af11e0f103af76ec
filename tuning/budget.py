"""When a sweep has spent enough: trials, epochs over all trials, seconds of wall time. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..platform.configuration.options import Sweep
from .rows import Rows


@dataclass(frozen=True)
class Budget:
    """Limits of a sweep.

    Args:
        trials: Configurations at most.
        max_epochs: Epochs of all trials together at most; None: no limit.
        deadline: Unix time in seconds after which nothing more starts; None: no limit.
    """

    trials: int
    max_epochs: int | None = None
    deadline: float | None = None

    def may_begin(self, rows: Rows, now: float) -> bool:
        """Whether another trial may be suggested.

        A trial that was suggested but reported nothing yet has its first epoch set aside, so that
        the epochs never exceed their limit.
        """
        return len(rows) < self.trials and not self.is_late(now) and self._epoch_left(rows)

    def may_go_on(self, rows: Rows, now: float) -> bool:
        """Whether a trial that just reported may train one more epoch beside the others."""
        return not self.is_late(now) and self._epoch_left(rows, but=1)

    def is_late(self, now: float) -> bool:
        """Whether the time is up."""
        return self.deadline is not None and now >= self.deadline

    def _epoch_left(self, rows: Rows, but: int = 0) -> bool:
        """Whether an epoch is left beside those done and the one each living trial is in."""
        if self.max_epochs is None:
            return True
        living = rows.count("pending", "running") - but
        return rows.epochs + living < self.max_epochs


def read_budget(sweep: Sweep, trials: int, now: float) -> Budget:
    """The limits that a config asks for.

    Args:
        sweep: The config's section.
        trials: How many configurations the search can give.
        now: Unix time at which the sweep starts, in seconds.
    """
    deadline = None if sweep.max_time_s is None else now + sweep.max_time_s
    return Budget(min(sweep.trials, trials), sweep.max_epochs, deadline)

"""What was decided about a trial at a rung, with the numbers that decided it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """One comparison of a trial with its rivals.

    Args:
        rule: `asha`, `hyperband` or `median`.
        rung: Where on the time axis (epochs unless the sweep says otherwise).
        value: The trial's score there.
        cutoff: The worst score that would have gone on; None when there was no rival.
        rank: The trial's place among those compared, from 1.
        of: How many were compared, itself included.
        stops: Whether the trial ends here.
    """

    rule: str
    rung: float
    value: float
    cutoff: float | None
    rank: int
    of: int
    stops: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return asdict(self)

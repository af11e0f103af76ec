"""What was decided about a trial at a rung, with the numbers that decided it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """One comparison of a trial with its rivals.

    Args:
        rule: `asha`, `hyperband`, `median` or `pbt`.
        rung: Where on the time axis (epochs unless the sweep says otherwise).
        value: The trial's score there.
        cutoff: The worst score that would have gone on; None when there was no rival.
        rank: The trial's place among those compared, from 1.
        of: How many were compared, itself included.
        stops: Whether the trial ends here.
        donor: The trial that it goes on as a copy of; None: as itself.
        values: The knob values that the copy goes on with, of the donor or changed.
    """

    rule: str
    rung: float
    value: float
    cutoff: float | None
    rank: int
    of: int
    stops: bool
    donor: int | None = None
    values: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the journal; what a rule has no use for is left out."""
        return {k: v for k, v in vars(self).items() if v is not None or k not in _OF_COPIES}

    @classmethod
    def from_dict(cls, event: Mapping[str, Any]) -> Verdict:
        """The verdict that a line of the journal tells."""
        return cls(**{name: event[name] for name in cls.__dataclass_fields__ if name in event})


_OF_COPIES = ("donor", "values")

"""How a trial ends, and what its run is tagged with. Pure."""

from __future__ import annotations

import json
from typing import NamedTuple

from .trial_row import TrialRow


class End(NamedTuple):
    """How a trial ends.

    Args:
        status: `finished`, `failed` or `killed`.
        stop_reason: `completed`, `early_stopped` or `budget`, of a finished one.
        error: What it failed of.
        detail: What else is known of it, in a sentence.
    """

    status: str
    stop_reason: str | None = None
    error: str | None = None
    detail: str = ""


def told_divergence(row: TrialRow) -> str:
    """Since when a trial's loss or score is no finite number; empty while they are."""
    if row.diverged_at is not None:
        epoch, step = row.diverged_at
        return f"no finite training loss since epoch {epoch}, step {step}"
    first = row.diverged_since
    return "" if first is None else f"no finite score since epoch {first.epoch}, step {first.step}"


def trial_tags(row: TrialRow) -> dict[str, str]:
    """The tags by which a trial's run is known."""
    return {
        "paceline.trial": str(row.number),
        "paceline.origin": row.origin,
        **knob_tags(row),
    }


def knob_tags(row: TrialRow) -> dict[str, str]:
    """A trial's knob values as tags."""
    values = row.values.items()
    return {f"knob.{k}": v if isinstance(v, str) else json.dumps(v) for k, v in values}

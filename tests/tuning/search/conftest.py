"""Trials that are over, folded from events as a sweep's journal has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from paceline.tuning.rows import Rows, TrialRow

METRIC = "val/loss"


def ended_trial(
    number: int,
    values: Mapping[str, Any],
    score: float | Sequence[float] | None = None,
    status: str = "finished",
    reason: str = "completed",
    rows: Rows | None = None,
    facts: Mapping[str, float] | None = None,
    **metrics: float,
) -> TrialRow:
    """The row of a trial that is over.

    Args:
        number: Its number.
        values: Its knobs.
        score: The deciding metric at its end, or at each of its epochs; None: it has none.
        status: `finished`, `failed` or `killed`.
        reason: Why it stopped.
        rows: Where to put it; default: rows of its own, of which small scores are best.
        facts: What else is known of it.
        metrics: Further metrics of each epoch.
    """
    rows = Rows(METRIC, "min") if rows is None else rows
    rows.apply({"event": "begin", "number": number, "values": values, "time": 0.0})
    rows.apply({"event": "start", "number": number, "time": 1.0})
    scores = [] if score is None else [score] if isinstance(score, (int, float)) else score
    for epoch, value in enumerate(scores, 1):
        told = {METRIC: None if math.isnan(value) else value, **metrics}
        moment = 1.0 + epoch
        report = {"number": number, "epoch": epoch, "time": moment, "metrics": told}
        rows.apply({"event": "report", **report})
    end = {"status": status, "stop_reason": reason, "time": 10.0, "facts": facts}
    rows.apply({"event": "end", "number": number, **end})
    return rows.by_number[number]


@pytest.fixture
def ended() -> Callable[..., TrialRow]:
    return ended_trial

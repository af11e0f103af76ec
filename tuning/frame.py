"""What stays the same over a sweep, and what an actor is told of a trial. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .budget import Budget
from .population.lineage import copy_of, curves_of
from .search.space import Space
from .stopping.judge import Judge
from .trial_row import TrialRow


@dataclass(frozen=True)
class Frame:
    """What stays the same over a sweep.

    Args:
        name: The sweep's name.
        folder: Its folder.
        run_id: MLflow's parent run.
        seed: The sweep's seed.
        space: Its space.
        budget: Its limits.
        nan: What becomes of a trial whose loss or score is no finite number.
        max_failures: How often a trial whose process died goes on; -1: without a limit.
        trial_time_s: Seconds that one trial may take; None: no limit.
        horizon: Where a trial ends on the time axis.
    """

    name: str
    folder: Path
    run_id: str
    seed: int
    space: Space
    budget: Budget
    nan: Literal["stop", "fail", "go_on"] = "stop"
    max_failures: int = 0
    trial_time_s: float | None = None
    horizon: float = math.inf


def suggestion(row: TrialRow, space: Space, judge: Judge) -> dict[str, Any]:
    """What the actor needs to know of a trial that begins or goes on.

    Args:
        row: The trial.
        space: The sweep's space.
        judge: Who is judged where.
    """
    judged = {verdict.rung for verdict in row.verdicts}
    return {
        "number": row.number,
        "run_id": row.run_id,
        "assignments": {**space.assignments(row.values), "seed_everything": row.seed},
        "rungs": [rung for rung in judge.rungs(row.number) if rung not in judged],
        "attempt": row.attempt + (not row.is_paused),
        "is_again": row.attempt > 0,
        "spent": row.spent,
        "copy": copy_of(row, space),
        "curves": curves_of(row.values),
        "step_offset": row.step_offset,
        "stops_at": row.stopped_by.rung if row.is_finishing and row.stopped_by else None,
    }

"""One sweep on its way: what its driver, its best trial's pictures and its winner's seeds share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..platform.tracking.store import Store
from .budget import Budget
from .journal import Journal
from .plan import Plan


@dataclass
class Course:
    """One sweep on its way.

    Args:
        plan: What it searches.
        name: Its name.
        run_id: MLflow's parent run.
        command: The command line, for the record.
        folder: Its folder.
        store: MLflow's store, open.
        journal: Its journal, with what stands in it.
        budget: Its limits.
        width: How many trials run at a time.
        unfinished: Numbers of trials that had begun and go on.
        started: When this driver began, by the monotonic clock.
        spent: Seconds of earlier drivers.
    """

    plan: Plan
    name: str
    run_id: str
    command: str
    folder: Path
    store: Store
    journal: Journal
    budget: Budget
    width: int
    unfinished: list[int]
    started: float
    spent: float = 0.0

"""What all trials of a sweep share, as plain data. Pure."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..platform.storage.location import place_of
from .population.rule import PopulationRule

if TYPE_CHECKING:
    from .course import Course


@dataclass(frozen=True)
class TrialPlan:
    """What all trials of a sweep share; it is shipped to each actor once.

    Args:
        name: The sweep's name.
        config: The base config, as `Config.to_dict` gives it.
        metric: The deciding metric.
        store_uri: MLflow's store.
        folder: The sweep's folder.
        storage: Whole address of the object store that checkpoints go to; None: they stay in the
            folder.
        path: The driver's `sys.path`: a config names classes of the folder that one works in.
        deadline: Unix time in seconds at which trials end; None: no limit.
        trial_time_s: Seconds that one trial may take; None: no limit.
        time_axis: What the rungs count.
        is_exact: Whether each epoch is told before the next begins.
        watches_loss: Whether a training loss that is no finite number is told at once.
        is_population: Whether trials copy each other at their rungs.
        has_pictures: Whether each trial that runs to its end draws its pictures.
        has_many_workers: Whether a trial trains in workers of its own.
    """

    name: str
    config: dict[str, Any]
    metric: str
    store_uri: str
    folder: str
    storage: str | None = None
    path: tuple[str, ...] = ()
    deadline: float | None = None
    trial_time_s: float | None = None
    time_axis: str = "epoch"
    is_exact: bool = False
    watches_loss: bool = False
    is_population: bool = False
    has_pictures: bool = False
    has_many_workers: bool = False

    def ends_at(self, spent: float) -> float | None:
        """Unix time at which a trial that begins now ends, after `spent` seconds before."""
        own = None if self.trial_time_s is None else time.time() + self.trial_time_s - spent
        return min((end for end in (self.deadline, own) if end is not None), default=None)


def plan_of(course: Course) -> TrialPlan:
    """What the trials of a sweep share."""
    config = course.plan.config
    return TrialPlan(
        name=course.name,
        config=config.to_dict(),
        metric=config.sweep.metric,
        store_uri=course.store.uri,
        folder=str(course.folder),
        storage=place_of(config.launch.storage),
        path=tuple(sys.path),
        deadline=course.budget.deadline,
        trial_time_s=config.sweep.trial_time_s,
        time_axis=course.plan.time_axis,
        is_exact=config.sweep.max_epochs is not None,
        watches_loss=config.sweep.nan != "go_on",
        is_population=isinstance(course.plan.rule, PopulationRule),
        has_pictures=config.sweep.pictures == "all",
        has_many_workers=config.launch.has_many_workers,
    )

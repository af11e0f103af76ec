"""A run in many workers, as its driver sees it: attempts, until one ends or may not be repeated.

Callable from any process that has Ray: the command's, and a sweep's actor whose trial is to have
several workers.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..configuration.options import Launch
from ..errors import TRACEBACK, PacelineError, RunError
from ..progress import Screen
from .capacity import num_slots
from .failures import Failure, HungWorkers, failure_of, is_tried_again
from .ray_session import quiet_ray, ray
from .standstill import Standstill
from .starting_point import keep_waiting
from .worker import WorkerPlan, run_worker

from .ray_train import draining, node_names  # isort: skip - it imports Ray
from .worker_group import LEFT, WorkerGroup  # isort: skip
from ray.exceptions import RayActorError  # isort: skip
from ray.train import ControllerError, WorkerGroupError  # isort: skip

logger = logging.getLogger("paceline.launch")

DRAINS_EVERY_S = 2.0
PATIENCE_S = 20.0  # workers that have not begun to train by then may be waiting for room


@dataclass
class WorkersOutcome:
    """How a run of many workers ended.

    Args:
        metrics: Metrics of the best checkpoint's epoch.
        checkpoint: Path of the best checkpoint.
        stop_reason: `completed`, `early_stopped` or `budget`.
        epochs: Epochs completed.
        steps: Optimizer steps made.
    """

    metrics: dict[str, float]
    checkpoint: str | None
    stop_reason: str
    epochs: int
    steps: int


@dataclass
class Driver:
    """Drives the attempts of one run.

    Args:
        plan: What the workers get.
        launch: How many of which shape, and how many failures they may have.
        screen: Where progress is shown.
        on_attempt: Called before each attempt but the first, with what made it necessary; None:
            the workers had to leave their nodes.
        on_result: Answers what the plan's `reporter` sends; `stop` ends the run.
        pool: Workers to use, and to leave running; none: they are this run's alone.
    """

    plan: WorkerPlan
    launch: Launch
    screen: Screen = field(default_factory=Screen)
    on_attempt: Callable[[Failure | None], object] = lambda failure: None
    on_result: Callable[[dict[str, Any]], Any] = lambda result: None
    pool: WorkerPool | None = None

    def run(self) -> WorkersOutcome:
        """Train until the run has ended.

        Raises:
            PacelineError: It failed, and trying again is of no use or was tried often enough.
            BaseException: Whatever interrupted the driver; the workers have left or are ended.
        """
        pool = self.pool or WorkerPool(Path(self.plan.folder, ".train"))
        try:
            return self._run(pool)
        finally:
            if self.pool is None:
                pool.close()

    def _run(self, pool: WorkerPool) -> WorkersOutcome:
        num_failures = 0
        while True:
            end = self._attempt(pool)
            if isinstance(end, WorkersOutcome):
                return end
            if isinstance(end, Failure):
                if not is_tried_again(end, num_failures, self.launch.max_failures):
                    raise self._kept(end)
                num_failures += 1
                self.screen.say(f"{end.error.what} Starting again from the latest checkpoint.")
            else:
                self.screen.say("The workers had to leave. Going on where they were.")
            self.plan = replace(self.plan, is_again=True)
            self.on_attempt(end)

    def _attempt(self, pool: WorkerPool) -> WorkersOutcome | Failure | None:
        """One attempt: how it ended; None when the workers were told to leave, not by us."""
        watch = _Watch(self.screen, self.launch, self.on_result)
        here = ray.get_runtime_context().get_node_id()
        plan = asdict(replace(self.plan, node_names=node_names(), driver_node=here))
        try:
            with quiet_ray():
                found = pool.workers(self.launch).train(plan, watch)
        except WorkerGroupError as error:
            return failure_of(error.worker_failures)
        except ControllerError as error:
            cause = error.controller_failure
            return Failure(RunError(f"The workers could not be started: {cause}"), True)
        except HungWorkers as error:
            return Failure(_hung(error, self.launch), True)
        except RayActorError as error:  # the controller's process or node has died
            return Failure(RunError("The run's controller died.", str(error).strip()), True)
        finally:
            self.screen.close()
        if found.pop(LEFT):
            return None
        keep_waiting(found.pop("waiting"), Path(self.plan.folder))
        return WorkersOutcome(**found)

    def _kept(self, failure: Failure) -> PacelineError:
        """The error to tell; a worker's traceback goes to a file in the run's folder."""
        error, log = failure.error, Path(self.plan.folder, TRACEBACK)
        if failure.trace:
            with contextlib.suppress(OSError):
                log.write_text(failure.trace)
                error.remedy = "\n".join(filter(None, [error.remedy, f"read {log}"]))
        return error


def _hung(late: HungWorkers, launch: Launch) -> RunError:
    what = f"The run failed: it stood still for {launch.hang_timeout_s:g} s, because {late}."
    remedy = "a longer --launch.hang_timeout_s, or 0 for none, if that is what it takes"
    return RunError(what, "", remedy)


class WorkerPool:
    """Workers that are there when they are wanted, and stay for the next run.

    Args:
        folder: A folder that all nodes share, for what Train keeps.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._group: WorkerGroup | None = None

    def workers(self, launch: Launch) -> WorkerGroup:
        """Workers of a shape; those that there are, if they have it."""
        if self._group is None or not self._group.is_open or self._group.launch != launch:
            self.close()
            self._group = WorkerGroup(run_worker, launch, self.folder)
        return self._group

    def close(self) -> None:
        """End what there is."""
        if self._group is not None:
            self._group.close()
            self._group = None


class _Watch:
    """What the driver does while the workers train: shows, answers, and looks after their nodes."""

    def __init__(self, screen: Screen, launch: Launch, on_result: Callable[[dict[str, Any]], Any]):
        self.screen, self.launch, self.on_result = screen, launch, on_result
        self._started = self._looked_at = time.monotonic()
        self._has_begun = self._has_told = False
        self._standstill = Standstill(launch.hang_timeout_s)
        self._beats: dict[int, Any] = {}

    def look(self, controller: Any) -> None:
        """See whether the run advances, and how its nodes are.

        Raises:
            HungWorkers: The run has stood still too long.
        """
        beats, self._beats = self._beats, {}
        if late := self._standstill.look(beats, time.monotonic()):
            raise HungWorkers(late)
        if time.monotonic() - self._looked_at > DRAINS_EVERY_S:
            self._looked_at = time.monotonic()
            self._look_at_nodes(controller)

    def handle(self, controller: Any, note: dict[str, Any]) -> None:
        """Show or answer what a worker has told."""
        self._has_begun = True
        if note["kind"] == "screen":
            getattr(self.screen, note["call"])(*note["values"])
        elif note["kind"] == "beats":
            self._beats = note["beats"]
        elif note["kind"] == "warning":
            logger.log(note["level"], "%s", note["text"])
        elif note["kind"] == "result":
            answer = self.on_result(note["result"])
            ray.get(controller.answer.remote(note["number"], answer))

    def _look_at_nodes(self, controller: Any) -> None:
        if not self._has_begun and time.monotonic() - self._started > PATIENCE_S:
            self._tell_of_waiting()
        if self._has_begun and not self._has_told:
            leaving = draining()
            if leaving and leaving & set(ray.get(controller.node_ids.remote())):
                self._has_told = ray.get(controller.tell_workers_to_leave.remote())

    def _tell_of_waiting(self) -> None:
        self._started = math.inf  # once is enough
        found = num_slots([n["Resources"] for n in ray.nodes() if n["Alive"]], self.launch)
        if found < self.launch.num_workers:
            self.screen.say(
                f"Waiting for the cluster: it has room for {found} of "
                f"{self.launch.num_workers} workers now."
            )

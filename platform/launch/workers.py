"""A run in many workers, as its driver sees it: attempts, until one ends or may not be repeated.

Callable from any process that has Ray: the command's, and a sweep's actor whose trial is to have
several workers.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..configuration.options import Launch
from ..errors import TRACEBACK, PacelineError, RunError
from ..progress import Screen
from .capacity import num_slots
from .failures import Failure, failure_of, is_tried_again
from .ray_session import quiet_ray, ray
from .worker import WorkerPlan, run_worker

from .ray_train import draining, node_names, start  # isort: skip - it imports Ray
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
    """

    plan: WorkerPlan
    launch: Launch
    screen: Screen = field(default_factory=Screen)
    on_attempt: Callable[[Failure | None], object] = lambda failure: None
    on_result: Callable[[dict[str, Any]], Any] = lambda result: None

    def run(self) -> WorkersOutcome:
        """Train until the run has ended.

        Raises:
            PacelineError: It failed, and trying again is of no use or was tried often enough.
            BaseException: Whatever interrupted the driver; the workers have left or are ended.
        """
        num_failures = 0
        while True:
            end = self._attempt()
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

    def _attempt(self) -> WorkersOutcome | Failure | None:
        """One attempt: how it ended; None when the workers were told to leave, not by us."""
        folder = Path(self.plan.folder) / ".train"
        watch = _Watch(self.screen, self.launch, self.on_result)
        plan = asdict(replace(self.plan, node_names=node_names()))
        try:
            with quiet_ray():
                found = start(
                    run_worker, plan, self.launch, folder, uuid.uuid4().hex[:8], watch.look
                )
        except WorkerGroupError as error:
            return failure_of(error.worker_failures)
        except ControllerError as error:
            cause = error.controller_failure
            return Failure(RunError(f"The workers could not be started: {cause}"), True)
        except RayActorError as error:  # the controller's process or node has died
            return Failure(RunError("The run's controller died.", str(error).strip()), True)
        finally:
            self.screen.close()
            shutil.rmtree(folder, ignore_errors=True)
        if found.pop("left"):
            return None
        return WorkersOutcome(**found)

    def _kept(self, failure: Failure) -> PacelineError:
        """The error to tell; a worker's traceback goes to a file in the run's folder."""
        error, log = failure.error, Path(self.plan.folder, TRACEBACK)
        if failure.trace:
            with contextlib.suppress(OSError):
                log.write_text(failure.trace)
                error.remedy = "\n".join(filter(None, [error.remedy, f"read {log}"]))
        return error


class _Watch:
    """What the driver does while the workers train: shows, answers, and looks after their nodes."""

    def __init__(self, screen: Screen, launch: Launch, on_result: Callable[[dict[str, Any]], Any]):
        self.screen, self.launch, self.on_result = screen, launch, on_result
        self._started = self._looked_at = time.monotonic()
        self._has_begun = self._has_told = False
        self._asked: Any = None

    def look(self, controller: Any, is_over: bool) -> None:
        """Handle what the workers have told, and see how their nodes are.

        The controller does not answer while it waits for its workers to start, so nobody waits for
        it, unless the run is over.
        """
        self._asked = self._asked or controller.notes.remote()
        if is_over or ray.wait([self._asked], timeout=0)[0]:
            notes = ray.get(self._asked)
            self._asked = None
            for note in notes + (ray.get(controller.notes.remote()) if is_over else []):
                self._handle(controller, note)
        if not is_over and time.monotonic() - self._looked_at > DRAINS_EVERY_S:
            self._looked_at = time.monotonic()
            self._look_at_nodes(controller)

    def _handle(self, controller: Any, note: dict[str, Any]) -> None:
        self._has_begun = True
        if note["kind"] == "screen":
            getattr(self.screen, note["call"])(*note["values"])
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

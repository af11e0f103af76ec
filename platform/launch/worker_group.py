"""Workers that train one plan after another: they start once, with all their imports.

A run needs them once. The trials of a sweep that come to the same actor share them, which spares
each but the first the start of its processes.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..configuration.options import Launch
from ..deferred_signals import DeferredSignals
from . import ray_settings as ray_settings
from .failures import HungWorkers
from .ray_train import make_trainer

import ray  # isort: skip - after `ray_settings`
from ray.exceptions import RayError  # isort: skip
from ray.train import get_context  # isort: skip
from ray.train.v2._internal.execution.context import get_train_context  # isort: skip

ASK_EVERY_S = 0.1
ANSWER_S = 5.0  # it is silent while its workers start
LEAVE_S = 20.0  # what workers get to agree, save and write after they were told to leave
ABORT_S = 15.0  # a worker that hangs is given 5 before it is killed
LEFT = "left"  # in what a worker returns: whether it was told to leave, and did so in order


class Watch(Protocol):
    """What a driver does while the workers train."""

    def handle(self, controller: Any, note: dict[str, Any]) -> None:
        """Take what a worker has told."""

    def look(self, controller: Any) -> None:
        """Called a few times a second.

        Raises:
            HungWorkers: The run has stood still too long.
        """


def serve(config: dict[str, Any]) -> dict[str, Any]:
    """In each worker: train what the driver gives, until it gives no more or all have to leave."""
    controller, rank = get_train_context().controller_actor, get_context().get_world_rank()
    done = -1
    while True:
        number, plan, is_again = ray.get(controller.take.remote(rank, done))
        if plan is None:
            return {LEFT: False}
        outcome = config["function"]({**plan, "is_again": plan["is_again"] or is_again})
        if outcome[LEFT]:
            return outcome
        if rank == 0:
            ray.get(controller.note.remote({"kind": "trained", "outcome": outcome}))
        done = number


class WorkerGroup:
    """Workers of one shape, from their start to their end.

    Args:
        function: A function of a module, called in each worker with a plan once torch's process
            group is open; it returns a dict, in which `left` says that it was told to leave.
        launch: How many workers of which shape.
        folder: A folder that all nodes share, for what Train keeps.
    """

    def __init__(
        self, function: Callable[[dict[str, Any]], dict[str, Any]], launch: Launch, folder: Path
    ):
        self.launch, self.folder = launch, folder
        trainer = make_trainer(serve, {"function": function}, launch, folder, uuid.uuid4().hex[:8])
        trainer.fit()  # which returns at once
        self._controller, self._running = trainer.controller, trainer.running
        self._asked: Any = None
        self._number = -1
        self._is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether it can be given something to train."""
        return not self._is_closed and not self._is_over()

    def _is_over(self) -> bool:
        return bool(ray.wait([self._running], timeout=0)[0])

    def train(self, plan: Mapping[str, Any], watch: Watch) -> dict[str, Any]:
        """Train one plan.

        Args:
            plan: Plain data.
            watch: What to do meanwhile.

        Returns:
            What rank 0 returned; the group is closed if the workers were told to leave.

        Raises:
            ray.train.WorkerGroupError: A worker raised or died; the group is closed.
            ray.train.ControllerError: The workers could not be started.
            HungWorkers: As `watch` says.
            BaseException: Whatever interrupted the driver; the workers have left or are ended.
        """
        self._number += 1
        self._controller.give.remote(self._number, dict(plan))
        with DeferredSignals() as signals:
            try:
                outcome = self._wait(watch, signals)
            except BaseException as error:
                self._break_off(error)
                raise
        if outcome[LEFT]:
            self.close()
        return outcome

    def _wait(self, watch: Watch, signals: DeferredSignals) -> dict[str, Any]:
        while True:
            is_over, outcome = self._is_over(), None
            for note in self._notes(is_over):
                if note["kind"] == "trained":
                    outcome = note["outcome"]
                else:
                    watch.handle(self._controller, note)
            if outcome is not None:
                return outcome
            if is_over:
                return self._last_outcome()
            watch.look(self._controller)
            time.sleep(ASK_EVERY_S)
            signals.check()

    def _notes(self, is_over: bool) -> list[dict[str, Any]]:
        """What the workers have told since the last time.

        The controller does not answer while it waits for its workers to start, so nobody waits for
        it, unless the run is over.
        """
        self._asked = self._asked or self._controller.notes.remote()
        if not is_over and not ray.wait([self._asked], timeout=0)[0]:
            return []
        notes = ray.get(self._asked)
        self._asked = None
        return notes + (ray.get(self._controller.notes.remote()) if is_over else [])

    def _last_outcome(self) -> dict[str, Any]:
        """How the workers have ended."""
        ray.get(self._running)
        result: Any = ray.get(self._controller.get_result.remote())
        if result.error:
            raise result.error
        return result.return_value

    def _break_off(self, error: BaseException) -> None:
        """Give the workers of a run that is interrupted time to save and to write, and end them."""
        if not self._is_over():
            with contextlib.suppress(RayError):
                if not isinstance(error, HungWorkers):
                    self._let_leave()
            with contextlib.suppress(RayError):  # gives its room back
                ray.wait([self._controller.abort.remote()], timeout=ABORT_S)
        self._end()

    def _let_leave(self) -> None:
        if ray.get(self._controller.tell_workers_to_leave.remote(), timeout=ANSWER_S):
            ray.wait([self._running], timeout=LEAVE_S)

    def close(self) -> None:
        """Let the workers end; a second time does nothing."""
        if self._is_closed:
            return
        with contextlib.suppress(RayError):
            self._controller.give.remote(self._number + 1, None)
            if not ray.wait([self._running], timeout=ANSWER_S)[0]:
                ray.wait([self._controller.abort.remote()], timeout=ABORT_S)
        self._end()

    def _end(self) -> None:
        self._is_closed = True
        ray.kill(self._controller)
        shutil.rmtree(self.folder, ignore_errors=True)

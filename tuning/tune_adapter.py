"""Tune's hooks over a sweep's monitor: stopper, callback and scheduler.

Tune asks the stopper at each report, then the scheduler, then tells the callback. Our stopping
rules answer through the stopper. A trial that waits at a rung for another is answered with Tune's
NOOP: its actor stays blocked in its report, and is let go at the turn of the loop at which the
verdict is known.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.execution.class_cache import _ActorClassCache
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.stopper import Stopper

from .monitor import Monitor

import ray  # isort: skip - after `ray_settings`, which whoever starts Ray has imported

logger = logging.getLogger("paceline.tuning")
PATIENCE_S = 300.0  # no report of any trial for so long: whoever is waited for will not come


class _Adapter:
    """Tune pickles what it is given, for a restore of its own that we never do."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class AnswerStopper(_Adapter, Stopper):
    """Says which trial stops at its report, and remembers who waits.

    Args:
        monitor: The sweep's monitor.
    """

    def __init__(self, monitor: Monitor):
        self.monitor = monitor
        self.waiting: set[int] = set()
        self.moved_at = time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this trial is to stop; a repeat of the last result asks nothing new."""
        if "number" not in result or result.get("done"):
            return False
        self.moved_at = time.monotonic()
        answer = self.monitor.receive(result)
        if answer == "wait":
            self.waiting.add(result["number"])
        return answer == "stop"

    def stop_all(self) -> bool:
        """Never: each trial ends by itself, flushed and recorded."""
        return False


class WaitingScheduler(_Adapter, FIFOScheduler):
    """First come, first served; trials that wait are not asked to train.

    Args:
        stopper: Who knows which trials wait.
        num_kept: Actors that are kept while no trial wants one. Tune keeps one, and between two
            generations of a population all others would end, to be started again.
    """

    def __init__(self, stopper: AnswerStopper, num_kept: int = 0):
        super().__init__()
        self.stopper, self.num_kept = stopper, num_kept
        self.controller: Any = None
        self._trials: dict[int, Trial] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Remember the controller, which lets waiting trials go on."""
        self.controller = getattr(tune_controller, "_tune_controller", tune_controller)
        if self.num_kept:
            shape = trial.placement_group_factory
            self.controller._actor_cache.increase_max(shape, self.num_kept)
            self.num_kept = 0

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Go on, or stay where it is."""
        number = number_of(trial)
        if number not in self.stopper.waiting:
            return TrialScheduler.CONTINUE
        self._trials[number] = trial
        return TrialScheduler.NOOP

    def release(self) -> None:
        """Let every waiting trial go on or stop whose verdict is known by now."""
        monitor, waiting = self.stopper.monitor, self.stopper.waiting
        for number in sorted(waiting):
            self._answer(number, monitor.decide(number))
        if waiting and time.monotonic() - self.stopper.moved_at > PATIENCE_S:
            # Trials start in order, so the one waited for runs, too, unless the cluster has lost
            # the place for it. The verdict is then given without it, and no longer waited for.
            first = min(waiting)
            logger.warning("Trial %03d is judged without those it waited for.", first)
            monitor.judge_now(first)
            self._answer(first, monitor.decide(first))

    def _answer(self, number: int, answer: str) -> None:
        if answer == "wait":
            return
        self.stopper.waiting.discard(number)
        trial = self._trials.pop(number)
        if answer == "go_on":
            self.controller._schedule_trial_train(trial)
        else:
            self.stopper.monitor.stopped(number)
            self.controller.stop_trial(trial)

    def forget(self, number: int) -> None:
        """A trial has ended in another way."""
        self.stopper.waiting.discard(number)
        self._trials.pop(number, None)


class Events(_Adapter, Callback):
    """Starts, ends and turns of Tune's loop.

    Args:
        monitor: The sweep's monitor.
        scheduler: Who lets waiting trials go.
        turn: Called at each turn of Tune's loop.
    """

    def __init__(self, monitor: Monitor, scheduler: WaitingScheduler, turn: Callable[[], None]):
        self.monitor, self.scheduler, self.turn = monitor, scheduler, turn
        self._running: dict[int, Trial] = {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info) -> None:
        """An actor begins a trial."""
        self._running[number_of(trial)] = trial
        self.monitor.start(number_of(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info
    ) -> None:
        """A result was judged; `done` says that the trial stops here."""
        if result.get("done"):
            self._over(trial)
            self.monitor.stopped(number_of(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info) -> None:
        """The actor died under a trial."""
        self._over(trial)
        self.monitor.died(number_of(trial), _cause_of(trial))

    def on_step_end(self, iteration: int, trials: list[Trial], **info) -> None:
        """Another turn of the loop."""
        self.scheduler.release()
        for number in self.monitor.hangs.new(time.time()):
            self._kill(number)
        self.turn()

    def abandon(self) -> None:
        """Give back what the trials hold of a Ray that goes on after an aborted sweep."""
        for trial in self._running.values():
            if (actor := trial.temporary_state.ray_actor) is not None:
                ray.kill(actor)
        if self.scheduler.controller is not None:
            self.scheduler.controller.cleanup()

    def forget_all(self) -> None:
        """Let go of Ray's handles: one that outlives its session takes a later one down."""
        self._running.clear()
        self.scheduler.controller = None

    def _over(self, trial: Trial) -> None:
        self._running.pop(number_of(trial), None)
        self.scheduler.forget(number_of(trial))

    def _kill(self, number: int) -> None:
        """End the process of a trial that hangs; Tune finds it dead and tells `on_trial_error`."""
        trial = self._running.get(number)
        actor = None if trial is None else trial.temporary_state.ray_actor
        if actor is not None:
            logger.warning("Trial %03d hangs: its process is ended.", number)
            ray.kill(actor)


@contextlib.contextmanager
def in_any_process() -> Iterator[None]:
    """Let Tune's actors take worker processes that run already, the preloaded ones.

    Tune gives its actors a few variables of the environment (`ray_settings` has them), and Ray
    starts a fresh process for whoever asks for any. Those that Ray starts here have the driver's.
    """
    plain = _ActorClassCache.get
    _ActorClassCache.get = lambda self, trainable_cls: ray.remote(trainable_cls)
    try:
        yield
    finally:
        _ActorClassCache.get = plain


def _cause_of(trial: Trial) -> str:
    """What Ray says of the death of a trial's process; it is written here first, as text."""
    with contextlib.suppress(OSError):
        text = Path(trial.error_file or "").read_text(encoding="utf-8", errors="replace")
        return text.strip().rpartition("Failure # ")[2].partition("\n")[2].strip()
    return "The process of this trial died."


def number_of(trial: Trial) -> int:
    """The number that the searcher gave a trial."""
    return trial.config["number"]

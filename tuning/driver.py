"""The driver of a sweep: from a checked plan and a journal to the result, whatever happens between.

A new sweep, one that goes on and one that is extended take the same way; they differ in what stands
in the journal already.
"""

from __future__ import annotations

import functools
import gc
import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from ..platform.deferred_signals import DeferredSignals
from ..platform.errors import RunError
from ..platform.home import write_state
from ..platform.launch.rooms import Rooms, release
from ..platform.signals import Interrupted
from ..platform.storage.going_on import best_address
from ..platform.storage.location import place_of
from ..platform.tracking.record import begin
from ..platform.training.step_overhead import frozen_heap
from .capacity import actor_shape
from .course import Course
from .driver_log import DriverLog
from .frame import Frame
from .manage.stop import STOP
from .monitor import Monitor
from .population.judge import make_judge
from .publish import publish_report
from .ray_session import RaySession, quiet_ray
from .result import SweepResult, describe_best
from .searcher import TrialSearcher
from .table import LiveTable
from .trial_folder import TRAIN_FILES, folder_of, names_of
from .trial_plan import plan_of
from .tune_adapter import AnswerStopper, Events, WaitingScheduler, in_any_process
from .winner import draw_best, keep_config, train_winner

from ray import tune  # isort: skip - `ray_session` sets what Ray reads when it is imported

ROOM_S = 10.0  # what the actors of the last trials get to end


class Driver:
    """Drives one course to its end.

    Args:
        course: The sweep.
    """

    def __init__(self, course: Course):
        self.course, self.plan = course, course.plan
        self.rows, self.store = course.journal.rows, course.store
        self.winner: dict[str, Any] | None = None
        self.plots: list[str] = []

    def run(self, session: RaySession, signals: DeferredSignals) -> SweepResult:
        """Search, and give every run its end."""
        with DriverLog(self.course.folder):
            return self._run(session, signals)

    def _run(self, session: RaySession, signals: DeferredSignals) -> SweepResult:
        monitor = self._monitor()
        self.write_state(self.result("running"))
        error: BaseException | None = None
        try:
            monitor.background.post(self._begin_record)
            with LiveTable(self.rows, self.course.budget.trials, self.course.width) as table:
                rooms = Rooms() if self.plan.config.launch.has_many_workers else None

                def turn() -> None:
                    table.refresh()
                    if rooms is not None:
                        rooms.look()
                    self._check_stop()
                    signals.check()

                with frozen_heap():
                    self._tune(monitor, turn, session)
                    gc.collect()  # Tune's own circles hold handles of Ray as well
            session.stop_soon()
            self._check_outcome(monitor)
            self._finish_best(monitor, signals)
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._end(monitor, error)
        return self.result("finished")

    def _monitor(self) -> Monitor:
        course, sweep = self.course, self.plan.config.sweep
        frame = Frame(
            name=course.name,
            folder=course.folder,
            run_id=course.run_id,
            seed=self.plan.seed,
            space=self.plan.space,
            budget=course.budget,
            nan=sweep.nan,
            max_failures=self.plan.config.launch.max_failures,
            trial_time_s=sweep.trial_time_s,
            horizon=self.plan.horizon or math.inf,
        )
        judge = make_judge(self.plan.rule, self.rows, in_order=sweep.in_order)
        return Monitor(
            frame, self.store, course.journal, self.plan.proposer, judge, course.unfinished
        )

    def _begin_record(self) -> None:
        config = self.plan.config
        begin(
            self.store,
            self.course.run_id,
            config=config.resolved,
            config_text=config.text(),
            name=self.course.name,
            seed=self.plan.seed,
            command=self.course.command,
        )

    def _check_stop(self) -> None:
        """End as after SIGTERM when `paceline stop` asks for it."""
        if (self.course.folder / STOP).exists():
            (self.course.folder / STOP).unlink(missing_ok=True)
            raise Interrupted(15)

    def _tune(self, monitor: Monitor, turn: Callable[[], None], session: RaySession) -> None:
        """Let Tune drive the trials until none is left, with a `turn` of ours in its loop."""
        if not monitor.may_begin():
            return
        from .trial import run_trial

        shared = plan_of(self.course)

        def trial(suggestion: dict[str, Any]) -> None:
            run_trial(suggestion, shared, tune.report)

        stopper = AnswerStopper(monitor)
        # Where none is asked to wait for a place, an actor would end between two trials.
        is_kept = monitor.judge.leaves_at_rungs or self.plan.config.launch.has_many_workers
        num_kept = self.course.width if is_kept else 0
        scheduler = WaitingScheduler(stopper, num_kept)
        events = Events(monitor, scheduler, turn)
        run_config = tune.RunConfig(
            name="tune",
            storage_path=str(self.course.folder),
            stop=stopper,
            callbacks=[events],
            verbose=0,
        )
        tuner = tune.Tuner(
            tune.with_resources(trial, actor_shape(self.plan.config.launch)),
            tune_config=self._tune_config(monitor, scheduler),
            run_config=run_config,
        )
        session.wait_until_warm()
        try:
            with quiet_ray(), in_any_process() if session.is_preloaded else nullcontext():
                tuner.fit()
        except BaseException:
            if not session.is_ours:
                events.abandon()
            raise
        finally:
            events.forget_all()
            if self.plan.config.launch.has_many_workers:
                release(wait_s=ROOM_S)

    def _tune_config(self, monitor: Monitor, scheduler: WaitingScheduler) -> tune.TuneConfig:
        """How Tune asks for configurations and names the trials."""
        sweep, width = self.plan.config.sweep, self.course.width
        # Under these limits nothing waits beside the running trials: Tune would run it where
        # resources are left, and each trial that waits has an epoch set aside.
        # The actors of trials in several workers take no room, so any number of them would fit.
        has_many_workers = self.plan.config.launch.has_many_workers
        is_limited = sweep.max_concurrent or sweep.max_epochs or has_many_workers
        # Actors start side by side, and the next configuration waits when one comes free.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(width)
        searcher = TrialSearcher(monitor, width if is_limited else None)
        return tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,  # the searcher says when there are enough
            reuse_actors=True,
            trial_name_creator=lambda t: f"trial-{t.config['number']:03d}",
            trial_dirname_creator=lambda t: f"{t.config['number']:03d}",
        )

    def _check_outcome(self, monitor: Monitor) -> None:
        if monitor.fatal is not None:
            raise monitor.fatal
        failed = [row for row in self.rows if row.status == "failed"]
        if len(failed) == len(self.rows) > 0:
            raise RunError(
                f"All {len(failed)} trials failed, the first of: {failed[0].error}",
                str(self.course.folder / "trials"),
                f"read exception.txt of run {failed[0].run_id}: paceline ui",
            )

    def _finish_best(self, monitor: Monitor, signals: DeferredSignals) -> None:
        """Draw the best trial, and train its configuration with more seeds if that is asked for."""
        best = self.rows.best()
        if best is None:
            return
        drawn = monitor.background.post(functools.partial(draw_best, self.course, best))
        if self.plan.config.sweep.winner_seeds:
            drawn.result()  # it seeds what is random, which a training beside it draws from
            self.winner = train_winner(self.course, best, signals.check)

    def _end(self, monitor: Monitor, error: BaseException | None) -> None:
        """Give the parent and every trial their end, and keep the state."""
        status = "finished"
        if error is not None:
            killed = isinstance(error, (Interrupted, KeyboardInterrupt))
            status = "killed" if killed else "failed"
        monitor.kill_all()
        if best := self.rows.best():
            keep_config(self.course, best)
        monitor.background.post(functools.partial(self._finish_parent, status, error))
        monitor.close()
        for left in (self.course.folder / "trials").glob(f"{TRAIN_FILES}*"):
            shutil.rmtree(left, ignore_errors=True)
        result = self.result(status)
        self.write_state(result)
        self.plots = result.plots = publish_report(self.course, result)
        if isinstance(error, Interrupted):
            error.result = result  # type: ignore[attr-defined]

    def _finish_parent(self, status: Any, error: BaseException | None) -> None:
        best, run_id = self.rows.best(), self.course.run_id
        if best is not None:
            tags = {"paceline.best_trial": best.trial_id, "paceline.best_run_id": best.run_id}
            self.store.set_tags(run_id, tags)
        spent = len(self.rows) < self.plan.proposer.count
        reason = ("budget" if spent else "completed") if status == "finished" else None
        told = error if status == "failed" else None
        self.store.finish(run_id, status, stop_reason=reason, error=told)

    def result(self, status: Any) -> SweepResult:
        """The sweep as it stands."""
        course = self.course
        return SweepResult(
            name=course.name,
            run_id=course.run_id,
            status=status,
            rows=self.rows,
            best=describe_best(self.rows, self.plan.space, course.folder),
            tracking_uri=self.store.uri,
            seconds=course.spent + time.monotonic() - course.started,
            link=self.store.link(course.run_id),
            plots=self.plots,
            winner=self.winner,
        )

    def write_state(self, result: SweepResult) -> None:
        """Keep in `run.json` what the verbs over the sweep's name need."""
        write_state(self.course.folder, state_of(self.course, result))


def state_of(course: Course, result: SweepResult) -> dict[str, Any]:
    """What `run.json` holds of a sweep."""
    config = course.plan.config
    state: dict[str, Any] = {
        "kind": "sweep",
        "recipe": config.recipe,
        "experiment": course.store.experiment,
        "metric": config.sweep.metric,
        "mode": config.sweep.mode,
        "link": result.link,
        **result.as_dict(),
        "tracking_uri": course.store.uri,
    }
    if result.best:
        config_file = folder_of(course.folder, int(result.best["trial_id"])) / "config.yaml"
        state["best"] = {**result.best, "config_file": str(config_file)}
    if storage := place_of(config.launch.storage):
        state["storage"] = storage
        if result.best:
            trial = place_of(storage, course.name, *names_of(int(result.best["trial_id"])))
            address = best_address(str(trial)) or result.best["checkpoint"]
            state["best"]["checkpoint"] = address
    return state

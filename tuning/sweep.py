"""The driver of a sweep: checks everything, starts Ray, lets Tune run, gives every run its end."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..platform import training
from ..platform.checkpoints import BEST
from ..platform.config import Config
from ..platform.errors import RunError
from ..platform.home import claim, free_name, write_atomic, write_state
from ..platform.runs import open_store
from ..platform.signals import Interrupted, interruptible
from ..platform.tracking import Store
from ..platform.tracking_artifacts import finish_artifacts
from ..platform.tracking_record import begin
from .budget import Budget, read_budget
from .capacity import concurrency, worker_shape
from .deferred_signals import DeferredSignals
from .ledger import Ledger, Rows
from .monitor import Monitor
from .plan import Plan, check_values, plan_sweep
from .ray_session import RaySession, quiet_ray
from .result import SweepResult, describe_best, trial_folder
from .search import TrialSearcher
from .table import LiveTable

from ray import tune  # isort: skip - `ray_session` sets what Ray reads when it is imported


def run_sweep(
    config: Config,
    *,
    name: str | None = None,
    command: str = "",
    session: RaySession | None = None,
) -> SweepResult:
    """Search over a config's space.

    Args:
        config: A recipe's config.
        name: The sweep's name; default `RECIPE-YYYYMMDD-n`.
        command: The command line, for the record.
        session: Ray that has been starting already; used when it is at the config's address.

    Returns:
        The trials and the best of them.

    Raises:
        UserError: The input is wrong; nothing was recorded.
        RunError: Every trial failed.
        Interrupted: Ctrl-C or SIGTERM; its `result` has what was done, and all runs are KILLED.
    """
    started = time.monotonic()
    plan = plan_sweep(config)
    name = name or free_name(config.recipe, config.launch.storage)
    if session is None or session.address != config.launch.address:
        session = RaySession(config.launch.address, after=session)
    with claim(name, config.launch.storage) as folder, interruptible(), session:
        check_values(plan)
        training.prepare(config)
        width = concurrency(session.nodes(), config.launch, config.sweep.max_concurrent)
        store = open_store(config)
        with DeferredSignals() as signals:
            return _Sweep(plan, name, command, folder, store, width, started).run(session, signals)


class _Sweep:
    """One sweep on its way from the parent run to the result."""

    def __init__(
        self,
        plan: Plan,
        name: str,
        command: str,
        folder: Path,
        store: Store,
        width: int,
        started: float,
    ):
        self.plan, self.name, self.folder, self.store = plan, name, folder, store
        self.command = command or f"paceline sweep {plan.config.recipe}"
        self.width, self.started = width, started
        sweep = plan.config.sweep
        self.budget: Budget = read_budget(sweep, plan.proposer.count, time.time())
        self.rows = Rows(sweep.metric, sweep.mode)
        self.run_id = ""

    def run(self, session: RaySession, signals: DeferredSignals) -> SweepResult:
        """Record, search, end."""
        config = self.plan.config
        write_atomic(self.folder / "config.yaml", config.text())
        self.run_id = self.store.create_run(self.name, tags=config.tracking.tags)
        monitor = Monitor(
            self.store,
            self.run_id,
            self.name,
            Ledger(self.folder, self.rows),
            self.budget,
            self.plan.space,
            self.plan.proposer,
            self.plan.seed,
            stops_diverged=config.sweep.scheduler != "none",
        )
        self._write_state(self._result("running"))
        error: BaseException | None = None
        try:
            monitor.post(self._begin_record)
            with LiveTable(self.rows, self.budget.trials, self.width) as table:

                def turn() -> None:
                    table.refresh()
                    signals.check()

                self._tune(monitor, turn)
            session.stop_soon()
            self._check_outcome(monitor)
            monitor.post(self._describe_best)
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._end(monitor, error)
        return self._result("finished")

    def _begin_record(self) -> None:
        config = self.plan.config
        begin(
            self.store,
            self.run_id,
            config=config.resolved,
            config_text=config.text(),
            name=self.name,
            seed=self.plan.seed,
            command=self.command,
        )

    def _tune(self, monitor: Monitor, turn: Callable[[], None]) -> None:
        """Let Tune drive the trials until none is left, with a `turn` of ours in its loop."""
        from .trial import TrialPlan, run_trial

        config = self.plan.config
        shared = TrialPlan(
            name=self.name,
            config=config.to_dict(),
            metric=config.sweep.metric,
            store_uri=self.store.uri,
            folder=str(self.folder),
            path=tuple(sys.path),
            deadline=self.budget.deadline,
        )

        def trial(suggestion: dict[str, Any]) -> None:
            run_trial(suggestion, shared, tune.report)

        run_config = tune.RunConfig(
            name="tune",
            storage_path=str(self.folder),
            stop=monitor.stopper(),
            callbacks=[monitor.callback(turn)],
            verbose=0,
        )
        tuner = tune.Tuner(
            tune.with_resources(trial, worker_shape(config.launch)),
            tune_config=self._tune_config(monitor),
            run_config=run_config,
        )
        with quiet_ray():
            tuner.fit()

    def _tune_config(self, monitor: Monitor) -> tune.TuneConfig:
        """How Tune asks for configurations, stops the bad ones and names the trials."""
        from .schedule import make_scheduler

        config = self.plan.config
        # Under these limits nothing waits beside the running trials: Tune would run it where
        # resources are left, and each trial that waits has an epoch set aside.
        is_limited = config.sweep.max_concurrent or config.sweep.max_epochs
        # Actors start side by side, and the next configuration waits when one comes free.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.width)
        searcher = TrialSearcher(
            monitor.may_begin, monitor.begin, self.width if is_limited else None
        )
        return tune.TuneConfig(
            search_alg=searcher,
            scheduler=make_scheduler(config.sweep, config.get("trainer.max_epochs")),
            num_samples=self.budget.trials,
            reuse_actors=True,
            trial_name_creator=lambda t: f"trial-{t.config['number']:03d}",
            trial_dirname_creator=lambda t: f"{t.config['number']:03d}",
        )

    def _describe_best(self) -> None:
        """Draw the best trial from its best checkpoint, and keep its config as a file."""
        row = self.rows.best()
        if row is None:
            return
        folder = trial_folder(self.folder, row)
        changes = {**self.plan.space.assignments(row.values), "seed_everything": row.seed}
        config = self.plan.config.override(changes)
        write_atomic(folder / "config.yaml", config.text())
        if (folder / BEST).exists():
            built = training.prepare(config)
            training.evaluate(config, built, "validate", str(folder / BEST))
            finish_artifacts(self.store, row.run_id, built.model, checkpoint=str(folder / BEST))

    def _check_outcome(self, monitor: Monitor) -> None:
        if monitor.fatal is not None:
            raise monitor.fatal
        failed = [row for row in self.rows if row.status == "failed"]
        if len(failed) == len(self.rows) > 0:
            raise RunError(
                f"All {len(failed)} trials failed, the first of: {failed[0].error}",
                str(self.folder / "trials"),
                f"read exception.txt of run {failed[0].run_id}: paceline ui",
            )

    def _end(self, monitor: Monitor, error: BaseException | None) -> None:
        """Give the parent and every trial their end, and keep the state."""
        status = "finished"
        if error is not None:
            killed = isinstance(error, (Interrupted, KeyboardInterrupt))
            status = "killed" if killed else "failed"
        monitor.kill_all()
        monitor.post(functools.partial(self._finish_parent, status, error))
        monitor.close()
        result = self._result(status)
        self._write_state(result)
        if isinstance(error, Interrupted):
            error.result = result  # type: ignore[attr-defined]

    def _finish_parent(self, status: Any, error: BaseException | None) -> None:
        best = self.rows.best()
        if best is not None:
            tags = {"paceline.best_trial": best.trial_id, "paceline.best_run_id": best.run_id}
            self.store.set_tags(self.run_id, tags)
        spent = len(self.rows) < self.plan.proposer.count
        reason = ("budget" if spent else "completed") if status == "finished" else None
        told = error if status == "failed" else None
        self.store.finish(self.run_id, status, stop_reason=reason, error=told)

    def _result(self, status: Any) -> SweepResult:
        return SweepResult(
            name=self.name,
            run_id=self.run_id,
            status=status,
            rows=self.rows,
            best=describe_best(self.rows, self.plan.space, self.folder),
            tracking_uri=self.store.uri,
            seconds=time.monotonic() - self.started,
            link=self.store.link(self.run_id) if self.run_id else "",
        )

    def _write_state(self, result: SweepResult) -> None:
        config = self.plan.config
        state = {
            "kind": "sweep",
            "recipe": config.recipe,
            "experiment": self.store.experiment,
            "metric": config.sweep.metric,
            "mode": config.sweep.mode,
            **result.as_dict(),
        }
        if state["best"]:
            file = self.folder / "trials" / state["best"]["trial_id"] / "config.yaml"
            state["best"] |= {"config_file": str(file)}
        write_state(self.folder, state)

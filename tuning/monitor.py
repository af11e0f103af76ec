"""Between Tune's events and our record: every trial has a journal line, an MLflow run and an end.

Tune asks the stopper at each report and tells the callback what came of it. MLflow is written from
one thread beside the loop, in order, so that a slow store does not make trials wait.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.stopper import Stopper

from ..platform.errors import UserError
from ..platform.tracking import Store
from ..platform.tracking_writer import MetricWriter
from .budget import Budget
from .ledger import Ledger
from .search import Proposer
from .space import Space, trial_seed

logger = logging.getLogger("paceline.tuning")


class Monitor:
    """Drives the record of a sweep.

    Args:
        store: MLflow's store, open.
        parent: Run id of the sweep.
        name: The sweep's name.
        ledger: Its journal and rows.
        budget: Its limits.
        space: Its space.
        proposer: What its trials are.
        seed: Its seed.
        stops_diverged: Whether a trial whose score is no finite number is stopped.
    """

    def __init__(
        self,
        store: Store,
        parent: str,
        name: str,
        ledger: Ledger,
        budget: Budget,
        space: Space,
        proposer: Proposer,
        seed: int,
        *,
        stops_diverged: bool,
    ):
        self.store, self.parent, self.name = store, parent, name
        self.ledger, self.rows, self.budget = ledger, ledger.rows, budget
        self.space, self.proposer, self.seed = space, proposer, seed
        self.stops_diverged = stops_diverged
        self.fatal: UserError | None = None
        self._reasons: dict[int, str] = {}  # why a trial is being stopped, by number
        self.progress = MetricWriter(store.uri, parent)  # the best so far, over epochs spent
        self._post = ThreadPoolExecutor(1, "paceline-mlflow")

    def may_begin(self) -> bool:
        """Whether another trial may be suggested."""
        return self.fatal is None and self.budget.may_begin(self.rows, time.time())

    def begin(self) -> dict[str, Any]:
        """Begin the record of the next trial.

        Returns:
            What the actor needs to know of it.
        """
        number = len(self.rows)
        values, seed = self.proposer.propose(number), trial_seed(self.seed, number)
        row = self.ledger.write("begin", number, values=values, seed=seed)
        knobs = {f"knob.{k}": v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
        name = f"{self.name}-{row.trial_id}"
        tags = {"paceline.trial": str(number), **knobs}
        run_id = self.store.create_run(name, parent=self.parent, tags=tags)
        self.ledger.write("run", number, run_id=run_id)
        assignments = {**self.space.assignments(values), "seed_everything": seed}
        return {"number": number, "run_id": run_id, "assignments": assignments}

    def receive(self, result: dict[str, Any]) -> bool:
        """Take in what a trial sent.

        Returns:
            Whether the trial is to stop, scheduler or not.
        """
        number = result["number"]
        if end := result.get("end"):
            self.end(number, **end)
            return True
        metrics, epoch = result["metrics"], result["epoch"]
        row = self.ledger.write("report", number, epoch=epoch, metrics=metrics)
        if self.rows.best() is row and row.best_epoch == epoch:
            self.progress.add({f"best/{self.rows.metric}": row.score}, self.rows.epochs)
        if self.fatal or not self.budget.may_go_on(self.rows, time.time()):
            self._reasons[number] = "budget"
        elif self.stops_diverged and not math.isfinite(result["score"]):
            self._reasons[number] = "early_stopped"
        return number in self._reasons

    def end(
        self,
        number: int,
        status: str,
        stop_reason: str | None = None,
        error: str | None = None,
        fatal: dict[str, str] | None = None,
    ) -> None:
        """Give a trial its end, in the journal and in MLflow; a second end changes nothing."""
        row = self.rows.by_number[number]
        if row.is_over:
            return
        if fatal:
            self.fatal = UserError(**fatal)
        last_line = (error or "").strip().rpartition("\n")[2]
        self.ledger.write("end", number, status=status, stop_reason=stop_reason, error=last_line)
        details = {"stop_reason": stop_reason, "error": error}
        self.post(lambda: self.store.finish(row.run_id, status, **details))  # type: ignore[arg-type]

    def stopped(self, number: int) -> None:
        """A trial was stopped, by the budget, by its own divergence or by the scheduler."""
        self.end(number, "finished", self._reasons.get(number, "early_stopped"))

    def kill_all(self) -> None:
        """Give every trial that is not over its end, because the sweep is."""
        for row in self.rows:
            if not row.is_over:
                self.end(row.number, "killed")

    def post(self, write: Callable[[], object]) -> None:
        """Write to MLflow beside the loop; what fails is told and does not end the sweep."""
        self._post.submit(_told, write)

    def close(self) -> None:
        """Wait until all has been written."""
        self._post.shutdown(wait=True)
        self.progress.close()
        self.ledger.close()

    def stopper(self) -> Stopper:
        """Tune's view of `receive`."""
        return _Stopper(self)

    def callback(self, turn: Callable[[], None]) -> Callback:
        """Tune's view of starts and ends.

        Args:
            turn: Called at each turn of Tune's loop.
        """
        return _Events(self, turn)


def _told(write: Callable[[], object]) -> None:
    try:
        write()
    except Exception:
        logger.exception("The record of a trial could not be written.")


class _Adapter:
    """Tune pickles what it is given, for a restore of its own that we never do."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Stopper(_Adapter, Stopper):
    def __init__(self, monitor: Monitor):
        self.monitor = monitor

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this trial is to stop; a repeat of the last result asks nothing new."""
        return "number" in result and not result.get("done") and self.monitor.receive(result)

    def stop_all(self) -> bool:
        """Never: each trial ends by itself, flushed and recorded."""
        return False


class _Events(_Adapter, Callback):
    def __init__(self, monitor: Monitor, turn: Callable[[], None]):
        self.monitor, self.turn = monitor, turn

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info) -> None:
        """An actor begins a trial."""
        self.monitor.ledger.write("start", _number(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info
    ) -> None:
        """A result was judged; `done` says that the trial stops here."""
        if result.get("done"):
            self.monitor.stopped(_number(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info) -> None:
        """The actor died under a trial: out of memory, killed, or a fault outside our code."""
        text = f"{trial.get_error() or 'The process of this trial died.'}"
        self.monitor.end(_number(trial), "failed", error=text)

    def on_step_end(self, iteration: int, trials: list[Trial], **info) -> None:
        """Another turn of the loop."""
        self.turn()


def _number(trial: Trial) -> int:
    return trial.config["number"]

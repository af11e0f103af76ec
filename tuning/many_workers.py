"""A trial in several workers: its actor is their driver, and needs no room of its own.

Rank 0 reports as a trial in one process does; what it says goes through its actor to the sweep, and
the answer comes back the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer

from ..platform.configuration.config import Config
from ..platform.launch.failures import Failure
from ..platform.launch.wide import train_wide
from ..platform.launch.worker import STOP
from ..platform.launch.workers import WorkerPool
from .population.knob_curves import KnobCurves
from .reporter import Report, TrialReporter, UnknownMetric, facts_of
from .trial_folder import TRAIN_FILES


class WorkerReporter(TrialReporter):
    """The reporter in rank 0; whoever drives the workers is told how it ends, too."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As in one process; a metric that no trial can have is told as what it is."""
        try:
            super().on_validation_end(trainer, pl_module)
        except UnknownMetric as error:
            self.report({"fatal": error.as_dict()})
            raise

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell what has not been told."""
        known = {"facts": facts_of(pl_module), "is_late": self.is_late, "rest": self.unsent()}
        self.report({"last": known})


class ManyWorkers:
    """Stands in a trial's actor for what trains elsewhere, and knows how it stands with its sweep.

    Args:
        report: Sends a result to the sweep; raises SystemExit when the answer is to stop.
        arguments: The reporter's, all but `report`.
        has_pictures: Whether a trial that runs to its end draws its pictures.
    """

    state_key = WorkerReporter.__qualname__  # where checkpoints keep what the reporter knows

    def __init__(self, report: Report, arguments: Mapping[str, Any], has_pictures: bool):
        self.report, self.arguments, self.has_pictures = report, dict(arguments), has_pictures
        self.is_stopped = self.is_late = False
        self.facts: dict[str, float] = {}
        self.fatal: dict[str, str] | None = None
        self._rest: list[dict[str, Any]] = []

    def unsent(self) -> list[dict[str, Any]]:
        """The reports that the sweep has not had."""
        rest, self._rest = self._rest, []
        return rest

    def train(self, config: Config, *, curves: Mapping[str, Any] | None, **record: Any) -> str:
        """Train one configuration in workers, in a run that exists.

        Args:
            config: The trial's config.
            curves: Arguments of a member's `KnobCurves`; None: it is in no population.
            **record: See `wide.train_wide`.

        Returns:
            Why it stopped.

        Raises:
            PacelineError: It failed.
        """
        outcome = train_wide(
            config,
            pool=_pool_in(record["folder"]),
            on_attempt=self.begin_again,
            on_result=self.answer,
            reporter=_described(WorkerReporter, self.arguments),
            rank_0_callbacks=() if curves is None else (_described(KnobCurves, curves),),
            has_pictures=self.has_pictures,
            **record,
        )
        return outcome.stop_reason

    def answer(self, told: Mapping[str, Any]) -> str | None:
        """Pass on what rank 0 tells; what is only for its driver stays here."""
        if fatal := told.get("fatal"):
            self.fatal = fatal
            return None
        if last := told.get("last"):
            self.facts, self.is_late, self._rest = last["facts"], last["is_late"], last["rest"]
            return None
        if not self.is_stopped:
            try:
                self.report(dict(told))
            except SystemExit:  # how Tune says stop; the workers shall end in their own way
                self.is_stopped = True
        return STOP if self.is_stopped else None

    def begin_again(self, failure: Failure | None) -> None:
        """The workers begin again: after one of them has died, or had to leave its node."""
        error = "" if failure is None else failure.error.where
        self.answer({"number": self.arguments["number"], "again": {"error": error}})


_pools: list[WorkerPool] = []  # one, once the actor has had a trial


def _pool_in(folder: Path) -> WorkerPool:
    """The workers of this actor, which its trials use one after another.

    They end with it: they are its, and the sweep ends it when it needs it no more.
    """
    if not _pools:
        _pools.append(WorkerPool(folder.parent / f"{TRAIN_FILES}{folder.name}"))
    return _pools[0]


def _described(kind: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A callback that is made in rank 0."""
    path = f"{kind.__module__}.{kind.__qualname__}"
    return {"class_path": path, "init_args": dict(arguments)}

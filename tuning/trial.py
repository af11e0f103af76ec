"""One trial inside a reused Ray actor: a function called with a dict.

The actor's process lives on between trials, so imports, the config's parser and the data set's
tensors are paid for once. An exception of the model's is reported like a result and ends nothing
but its trial: Tune would answer a raised one by killing the actor, and the next trial would wait
for a new one to import everything again.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from ..platform.config import Config
from ..platform.config_keys import CLASS_SECTIONS, get_key, short_key
from ..platform.errors import PacelineError, UserError, must
from ..platform.launch import train
from . import ray_settings as ray_settings

logger = logging.getLogger("paceline.tuning")
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrialPlan:
    """What all trials of a sweep share; it is shipped to each actor once.

    Args:
        name: The sweep's name.
        config: The base config, as `Config.to_dict` gives it.
        metric: The deciding metric.
        store_uri: MLflow's store.
        folder: The sweep's folder.
        path: The driver's `sys.path`: a config names classes of the folder that one works in.
        deadline: Unix time in seconds at which trials end; None: no limit.
    """

    name: str
    config: dict[str, Any]
    metric: str
    store_uri: str
    folder: str
    path: tuple[str, ...] = ()
    deadline: float | None = None


class UnknownMetric(UserError):
    """The deciding metric is none that the module logs: no trial of the sweep can have it."""


class TrialReporter(Callback):
    """Tells the sweep of each validation, and ends the training when the answer is to stop.

    Args:
        number: The trial's number.
        metric: The deciding metric.
        report: Sends a result and waits for the answer; raises SystemExit when that is to stop.
        deadline: Unix time in seconds at which the trial ends; None: no limit.
    """

    def __init__(self, number: int, metric: str, report: Report, deadline: float | None = None):
        self.number, self.metric, self.report, self.deadline = number, metric, report, deadline
        self.is_stopped = self.is_late = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop when the sweep's time is up."""
        if self.deadline is not None and time.time() > self.deadline:
            self.is_late = True
            _stop(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report an epoch's metrics; the check before training is no epoch."""
        if self.is_stopped or trainer.state.fn != "fit":
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self.metric not in metrics:
            raise UnknownMetric(
                must("sweep.metric", "a metric that the module logs in validation", self.metric),
                f"the first validation of {type(pl_module).__name__}",
                f"it logs: {', '.join(sorted(metrics)) or 'nothing'}",
            )
        if trainer.sanity_checking:
            return
        try:
            self.report(
                {
                    "number": self.number,
                    "epoch": trainer.current_epoch + 1,
                    "score": metrics[self.metric],
                    "metrics": metrics,
                }
            )
        except SystemExit:  # how Tune says stop; Lightning shall end in its own way
            self.is_stopped = True
            _stop(trainer)


def _stop(trainer: Trainer) -> None:
    """End the training after this epoch or batch, whatever minimum the config asks for."""
    trainer.fit_loop.min_epochs = 0
    trainer.fit_loop.epoch_loop.min_steps = None
    trainer.should_stop = True


def run_trial(suggestion: dict[str, Any], plan: TrialPlan, report: Report) -> None:
    """Train one configuration; reports go to the sweep, metrics into the trial's MLflow run.

    Args:
        suggestion: `number`, `run_id`, `seed` and the config's `assignments`.
        plan: What all trials share.
        report: Sends a result to the sweep.

    Raises:
        SystemExit: The sweep stopped this trial.
    """
    number = suggestion["number"]
    sys.path += [folder for folder in plan.path if folder not in sys.path]
    reporter = TrialReporter(number, plan.metric, report, plan.deadline)
    try:
        end = _train(suggestion, plan, reporter)
    except Exception as error:
        end = _failure(error)
        if reporter.is_stopped:
            logger.warning("Run %s could not end well: %s", suggestion["run_id"], end["error"])
    if reporter.is_stopped:
        sys.exit(0)  # nobody waits for another report of this trial
    report({"number": number, "end": end})


def _failure(error: Exception) -> dict[str, Any]:
    """The end of a trial that raised; what every trial would raise ends the sweep."""
    line = str(error).strip().partition("\n")[0]
    if not isinstance(error, PacelineError):
        line = f"{type(error).__name__}: {line}".removesuffix(": ")
    trace = "".join(traceback.format_exception(error)).rstrip()
    text = trace if trace.endswith(line) else f"{trace}\n{line}"  # the last line names it
    fatal = error.as_dict() if isinstance(error, UnknownMetric) else None
    return {"status": "failed", "error": text, "fatal": fatal}


def _train(
    suggestion: Mapping[str, Any], plan: TrialPlan, reporter: TrialReporter
) -> dict[str, Any]:
    if plan.deadline is not None and time.time() > plan.deadline:
        return {"status": "killed", "stop_reason": "budget"}
    folder = Path(plan.folder) / "trials" / f"{suggestion['number']:03d}"
    config = Config.from_dict(plan.config).override(suggestion["assignments"])
    outcome = train(
        config,
        store_uri=plan.store_uri,
        run_id=suggestion["run_id"],
        folder=folder,
        callbacks=[reporter],
        name=f"{plan.name}-{suggestion['number']:03d}",
        command=command_of(Config.from_dict(plan.config), suggestion["assignments"]),
        wants_pictures=lambda: not reporter.is_stopped,
    )
    return {
        "status": "finished",
        "stop_reason": "budget" if reporter.is_late else outcome.stop_reason,
    }


def command_of(config: Config, assignments: Mapping[str, Any]) -> str:
    """The command that trains one trial's configuration again.

    Args:
        config: The sweep's config, whose own flags shape its trials too.
        assignments: What the sweep sets for this trial.
    """
    given = {key: get_key(config.values, key) for key in config.origins if _shapes_a_run(key)}
    words = ["paceline", "fit", config.recipe]
    for key, value in {**given, **assignments}.items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += [_FLAGS.get(key, f"--{short_key(key)}"), text]
    return shlex.join(words)


def _shapes_a_run(key: str) -> bool:
    return key.partition(".")[0] not in ("sweep", "launch", "tracking")


_FLAGS = {"seed_everything": "--seed"} | {
    f"{section}.class_path": f"--{section.replace('_', '-')}" for section in CLASS_SECTIONS
}

"""What a trial tells its sweep: each validation, in batches, and what the answer is.

A report that is waited for costs a round trip through the driver's loop. So a trial waits only
where the answer can be to stop: at its rungs, at a score that is no number, and under a budget that
counts single epochs. Else its reports go out twice a second, together.

The reports stand in the trial's checkpoints too. When a trial goes on from one, it tells the sweep
again what the journal may have lost; the journal leaves out what it knows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from ..platform.errors import UserError, must

Report = Callable[[dict[str, Any]], None]
SEND_EVERY_S = 0.5


class UnknownMetric(UserError):
    """A metric that the sweep needs is none that the module logs: no trial can have it."""


class TrialReporter(Callback):
    """Tells the sweep of each validation, and ends the training when the answer is to stop.

    Args:
        number: The trial's number.
        metric: The deciding metric.
        report: Sends a result and waits for the answer; raises SystemExit when that is to stop.
        rungs: Where on the time axis the trial is judged, ascending.
        time_axis: `epoch`, `step` or a metric's name.
        deadline: Unix time in seconds at which the trial ends; None: no limit.
        is_exact: Whether each epoch is told before the next begins.
    """

    def __init__(
        self,
        number: int,
        metric: str,
        report: Report,
        rungs: Sequence[float] = (),
        time_axis: str = "epoch",
        deadline: float | None = None,
        *,
        is_exact: bool = False,
    ):
        self.number, self.metric, self.report = number, metric, report
        self.rungs, self.time_axis, self.deadline = rungs, time_axis, deadline
        self.is_exact = is_exact
        self.is_stopped = self.is_late = False
        self.reports: list[dict[str, Any]] = []
        self._num_sent = 0
        self._sent_at = 0.0

    def state_dict(self) -> dict[str, Any]:
        """All reports so far, for the checkpoint."""
        return {"reports": [*self.reports]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the reports of the earlier attempt up; they are sent again with the next one."""
        self.reports = [*state_dict["reports"]]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell what an earlier attempt had done; the answer may be that it is to stop."""
        if self.reports:
            self._send(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop when the time is up."""
        if self.deadline is not None and time.time() > self.deadline:
            self.is_late = True
            _stop(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note an epoch's metrics; the check before training is no epoch."""
        if self.is_stopped or trainer.state.fn != "fit":
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        at = self._position(trainer, metrics, type(pl_module).__name__)
        if trainer.sanity_checking:
            return
        before = self.reports[-1]["at"] if self.reports else 0.0
        self.reports.append(
            {
                "epoch": trainer.current_epoch + 1,
                "at": at,
                "step": trainer.global_step,
                "time": round(time.time(), 3),
                "metrics": metrics,
            }
        )
        if self._is_awaited(before, at, metrics[self.metric]):
            self._send(trainer)

    def _position(self, trainer: Trainer, metrics: dict[str, float], module: str) -> float:
        """Where the trial stands on the time axis."""
        for name, key in (("metric", self.metric), ("time_axis", self.time_axis)):
            if key not in metrics and key not in ("epoch", "step"):
                raise UnknownMetric(
                    must(f"sweep.{name}", "a metric that the module logs in validation", key),
                    f"the first validation of {module}",
                    f"it logs: {', '.join(sorted(metrics)) or 'nothing'}",
                )
        own = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        return float(own.get(self.time_axis, metrics.get(self.time_axis, 0.0)))

    def _is_awaited(self, before: float, at: float, score: float) -> bool:
        """Whether the next epoch begins only after the sweep has answered."""
        return (
            self.is_exact
            or not math.isfinite(score)
            or any(before < rung <= at for rung in self.rungs)
            or time.monotonic() - self._sent_at > SEND_EVERY_S
        )

    def unsent(self) -> list[dict[str, Any]]:
        """The reports that the sweep has not had from this attempt."""
        found = self.reports[self._num_sent :]
        self._num_sent = len(self.reports)
        return found

    def _send(self, trainer: Trainer) -> None:
        try:
            self.report({"number": self.number, "reports": self.unsent()})
        except SystemExit:  # how Tune says stop; Lightning shall end in its own way
            self.is_stopped = True
            _stop(trainer)
        self._sent_at = time.monotonic()


def _stop(trainer: Trainer) -> None:
    """End the training after this epoch or batch, whatever minimum the config asks for."""
    trainer.fit_loop.min_epochs = 0
    trainer.fit_loop.epoch_loop.min_steps = None
    trainer.should_stop = True

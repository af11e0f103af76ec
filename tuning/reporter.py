"""What a trial tells its sweep: each validation, in batches, and what the answer is.

A report that is waited for costs a round trip through the driver's loop. So a trial waits only
where the answer can be to stop: at its rungs, at a score that is no number, and under a budget that
counts single epochs. Else its reports go out twice a second, together.

A member of a population is judged at a rung once its checkpoint there is on disk, because others
may go on from it: then, and not at the validation before, it tells what it has reached.

The reports stand in the trial's checkpoints too. When a trial goes on from one, it tells the sweep
again what the journal may have lost; the journal leaves out what it knows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from ..platform.errors import UserError, must
from ..platform.training.agreement import stop

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
        watches_loss: Whether a training loss that is no finite number is told at once.
        keep_rungs: Keeps the latest checkpoint as that of some rungs; None: nobody asks for it.
        stops_at: Where the trial was stopped before its process died; it comes there again, for
            what was not written, and ends by itself. None: it was not.
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
        watches_loss: bool = False,
        keep_rungs: Callable[[Sequence[float]], None] | None = None,
        stops_at: float | None = None,
    ):
        self.number, self.metric, self.report = number, metric, report
        self.rungs, self.time_axis, self.deadline = rungs, time_axis, deadline
        self.is_exact, self.keep_rungs, self.stops_at = is_exact, keep_rungs, stops_at
        self.is_stopped = self.is_late = False
        self.reports: list[dict[str, Any]] = []
        self.num_copies = 0
        self.at = 0.0
        self._reached: list[float] = []  # rungs behind the latest checkpoint
        self._loss = LossWatch() if watches_loss else None
        self._num_sent = 0
        self._sent_at = 0.0

    def state_dict(self) -> dict[str, Any]:
        """All reports so far, for the checkpoint."""
        told = {"reports": [*self.reports], "at": self.at}
        return told | {"copies": self.num_copies, "reached": [*self._reached]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the reports of the earlier attempt up; they are sent again with the next one."""
        self.reports = [*state_dict["reports"]]
        self.num_copies = state_dict.get("copies", 0)
        last = self.reports[-1]["at"] if self.reports else 0.0
        self.at = state_dict.get("at", last)
        self._reached = [rung for rung in state_dict.get("reached", ()) if rung in self.rungs]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell what an earlier attempt had done; the answer may be that it is to stop."""
        if self._is_there():
            stop(trainer)
        elif self._reached:
            self.on_checkpoint_saved(trainer)  # the attempt before may have died in the middle
        elif self.reports:
            self._send(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop when the time is up, or when the loss has become no number."""
        if self._loss is not None and self._loss.is_lost(outputs):
            self._send(trainer, {"epoch": trainer.current_epoch + 1, "step": trainer.global_step})
            self._loss = None  # told once; who is to go on is not asked again
        if self.deadline is not None and time.time() > self.deadline:
            self.is_late = True
            stop(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note an epoch's metrics; the check before training is no epoch."""
        if self.is_stopped or trainer.state.fn != "fit":
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        at = self._position(trainer, metrics, type(pl_module).__name__)
        if trainer.sanity_checking:
            return
        before, self.at = self.at, at
        self.reports.append(
            {
                "epoch": trainer.current_epoch + 1,
                "at": at,
                "step": trainer.global_step,
                "time": round(time.time(), 3),
                "metrics": metrics,
            }
        )
        if self._is_there():
            stop(trainer)
            return
        crossed = [rung for rung in self.rungs if before < rung <= at]
        if self.keep_rungs is not None and math.isfinite(metrics[self.metric]):
            self._reached += crossed  # told when there is a checkpoint of it
        if not self._reached and self._is_awaited(crossed, metrics[self.metric]):
            self._send(trainer)

    def _is_there(self) -> bool:
        """Whether the trial has come again to where it was stopped."""
        return self.stops_at is not None and self.at >= self.stops_at

    def on_checkpoint_saved(self, trainer: Trainer) -> None:
        """Tell of the rungs that lie behind the checkpoint that was just written."""
        if self.keep_rungs is None or not self._reached or self.is_stopped:
            return
        self.keep_rungs(self._reached)
        self._reached = []
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

    def _is_awaited(self, crossed: Sequence[float], score: float) -> bool:
        """Whether the next epoch begins only after the sweep has answered."""
        return (
            self.is_exact
            or not math.isfinite(score)
            or bool(crossed)
            or time.monotonic() - self._sent_at > SEND_EVERY_S
        )

    def unsent(self) -> list[dict[str, Any]]:
        """The reports that the sweep has not had from this attempt."""
        found = self.reports[self._num_sent :]
        self._num_sent = len(self.reports)
        return found

    def _send(self, trainer: Trainer, diverged: Mapping[str, int] | None = None) -> None:
        if self.is_stopped:
            return
        told = {"diverged": dict(diverged)} if diverged else {}
        try:
            self.report({"number": self.number, "reports": self.unsent(), **told})
        except SystemExit:  # how Tune says stop; Lightning shall end in its own way
            self.is_stopped = True
            stop(trainer)
        self._sent_at = time.monotonic()


def facts_of(model: LightningModule) -> dict[str, float]:
    """What is known of a trial beside its metrics."""
    return {"num_parameters": sum(p.numel() for p in model.parameters())}


class LossWatch:
    """Finds the first training loss that is no finite number.

    On an accelerator the loss is read one step later, when it has been computed anyway: reading it
    at once would wait for all queued work.
    """

    def __init__(self) -> None:
        self._last: Tensor | None = None

    def is_lost(self, outputs: Any) -> bool:
        """Whether what a training step returned, or the one before it, is no finite number."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            return False
        if loss.device.type != "cpu":
            loss, self._last = self._last, loss.detach().clone()
        return loss is not None and not math.isfinite(loss.item())

"""What the workers of a run tell while they train, and what they agree on at each validation.

Ray's own callback saves a whole checkpoint and waits for all workers at each epoch. Here a report
carries metrics alone: checkpoints are ours. Train takes a second report only once its controller
has fetched the first, so they are sent at most a few times a second, with every validation since
the last one in it. All workers send the same number of them, because rank 0 says when, in the one
small broadcast that also says whether it wants to stop.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from ..progress import Screen
from ..training.agreement import leave_now, stop_now, told_to_leave, told_to_stop
from ..training.checkpoints import is_validated_next
from . import ray_settings as ray_settings

from ray import train as ray_train  # isort: skip - after `ray_settings`

EVERY_S = 0.5


class WorkerReport(Callback):
    """Reports validations to Ray Train, and lets all workers stop where rank 0 does."""

    def __init__(self):
        self._validations: list[dict[str, Any]] = []
        self._reported_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Agree on whether there is anything left to train."""
        _stop_as_rank_0(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Leave, where one worker is all there is room for and nobody to agree with."""
        is_told = trainer.world_size == 1 and told_to_leave.is_set()
        if is_told and not is_validated_next(trainer):
            leave_now(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note a validation; agree on whether it is reported now and whether it was the last."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        place = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        self._validations.append(place | metrics)
        is_due = time.monotonic() - self._reported_at > EVERY_S
        is_due, stops = _as_rank_0(trainer, is_due, _wants_to_stop(trainer))
        if is_due:
            self._report()
        if stops:
            stop_now(trainer)

    def on_checkpoint_saved(self, trainer: Trainer) -> None:
        """Agree on whether that was the last, as it is for a member that leaves at its rung."""
        _stop_as_rank_0(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report what is left; all workers have as much of it."""
        if self._validations:
            self._report()

    def _report(self) -> None:
        latest = self._validations[-1]
        ray_train.report({**latest, "validations": self._validations})
        self._validations, self._reported_at = [], time.monotonic()


def _wants_to_stop(trainer: Trainer) -> bool:
    return trainer.should_stop or told_to_stop.is_set()


def _stop_as_rank_0(trainer: Trainer) -> None:
    (stops,) = _as_rank_0(trainer, _wants_to_stop(trainer))
    if stops:
        stop_now(trainer)


def _as_rank_0(trainer: Trainer, *answers: bool) -> list[bool]:
    """What rank 0 answers, in all processes."""
    told = torch.tensor([float(a) for a in answers], device=trainer.strategy.root_device)
    dist.broadcast(told, 0)
    return [bool(value) for value in told.tolist()]


class NotedScreen(Screen):
    """A screen in another process: what is to be shown is told to the driver.

    Args:
        controller: Takes the notes, and does not keep the training waiting.
    """

    def __init__(self, controller: Any):
        self.controller = controller

    def _note(self, call: str, *values: Any) -> None:
        self.controller.note.remote({"kind": "screen", "call": call, "values": values})

    def open(self) -> None:
        """The training begins."""
        self._note("open")

    def begin_epoch(self, epoch: str, num_batches: float | None) -> None:
        """An epoch begins."""
        self._note("begin_epoch", epoch, num_batches)

    def move(self, num_batches: int) -> None:
        """So many batches of the epoch are done."""
        self._note("move", num_batches)

    def end_epoch(self, epoch: str, metrics: str, seconds: float) -> None:
        """An epoch has ended."""
        self._note("end_epoch", epoch, metrics, seconds)

    def say(self, line: str) -> None:
        """A line of its own."""
        self._note("say", line)

    def close(self) -> None:
        """The driver knows when the training is over."""


class NotedWarnings(logging.Handler):
    """Tells the driver what Paceline warns of in a worker."""

    def __init__(self, controller: Any):
        super().__init__(logging.WARNING)
        self.controller = controller

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one."""
        note = {"kind": "warning", "level": record.levelno, "text": record.getMessage()}
        self.controller.note.remote(note)


@contextlib.contextmanager
def warnings_told(controller: Any) -> Iterator[None]:
    """Tell the driver what Paceline warns of here, as long as it lasts."""
    told = NotedWarnings(controller)
    logging.getLogger("paceline").addHandler(told)
    try:
        yield
    finally:
        logging.getLogger("paceline").removeHandler(told)

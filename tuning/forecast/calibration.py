"""How fast a recipe trains: a few of its own steps, in this process, for a few seconds.

The loop is the one that a trial runs, with its validations and checkpoints, in a folder that is
dropped. It trains until the time is over, and once more through one batch and its validation where
no epoch has ended by then. Nothing is recorded, and no Ray is needed.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from ...platform.configuration.config import Config
from ...platform.training.building import told_as_failure
from ...platform.training.checkpoint_names import LATEST
from ...platform.training.fitting import fit, prepare
from .simulation import Pace

WARM_STEPS = 3  # the first steps find caches cold
VALIDATION_BATCHES = 4


@dataclass(frozen=True)
class Measured:
    """What a few seconds of training showed.

    Args:
        overhead_s: Seconds of a trial before its first batch and after its last.
        epoch_s: Seconds of an epoch, with validation and checkpoint; None where epochs do not end.
        steps_per_s: Optimizer steps a second, validations left out unless they came.
        steps_per_epoch: Optimizer steps of an epoch; None where epochs do not end.
        checkpoint_bytes: Size of one checkpoint; 0 where none was written.
        steps: How many steps were made.
    """

    overhead_s: float
    epoch_s: float | None
    steps_per_s: float
    steps_per_epoch: float | None
    checkpoint_bytes: int
    steps: int

    def pace(self, axis: str, record_s: float = 0.0) -> Pace | None:
        """Seconds for a unit of the time axis; None where this does not tell.

        Args:
            axis: The time axis.
            record_s: Seconds that an epoch takes beside what was measured.
        """
        epoch_s = None if self.epoch_s is None else self.epoch_s + record_s
        if axis == "epoch":
            return None if epoch_s is None else Pace(self.overhead_s, epoch_s)
        if axis != "step":
            return None
        if epoch_s is not None and self.steps_per_epoch:
            return Pace(self.overhead_s, epoch_s / self.steps_per_epoch)
        return Pace(self.overhead_s, 1 / self.steps_per_s) if self.steps_per_s else None


class Enough(Exception):
    """The time is over."""


class Clock(Callback):
    """Takes the time of steps, validations and epochs, and ends the training when it is over.

    Args:
        limit_s: Seconds from the first batch on.
    """

    def __init__(self, limit_s: float):
        self.limit_s = limit_s
        self.began = self.ended = 0.0
        self.steps: list[float] = []  # seconds of each batch, its loading included
        self.epochs: list[float] = []  # of each whole epoch, with validation and checkpoint
        self.validation_batches: list[float] = []
        self.num_batches = self.num_validation_batches = math.inf
        self.global_steps: list[tuple[float, int]] = []
        self._last = self._epoch_began = self._validation_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first batch is about to come."""
        self.began = time.perf_counter()
        self.num_batches = trainer.num_training_batches
        self.num_validation_batches = sum(trainer.num_val_batches) or 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch begins; the one before has ended, with its checkpoint."""
        now = time.perf_counter()
        if self._epoch_began:
            self.epochs.append(now - self._epoch_began)
            self._stop_if_over(now)
        self._last = self._epoch_began = now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A batch is done."""
        now = time.perf_counter()
        self.steps.append(now - self._last)
        self.global_steps.append((now, trainer.global_step))
        self._last = now
        if len(self.steps) > WARM_STEPS:
            self._stop_if_over(now)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation begins."""
        self._validation_at = time.perf_counter()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A batch of a validation is done."""
        now = time.perf_counter()
        self.validation_batches.append(now - self._validation_at)
        self._validation_at = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The next batch does not begin with this validation."""
        self._last = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last epoch has ended in order."""
        self.ended = time.perf_counter()
        if self._epoch_began and len(self.epochs) < trainer.current_epoch:
            self.epochs.append(self.ended - self._epoch_began)

    def _stop_if_over(self, now: float) -> None:
        if now - self.began > self.limit_s:
            raise Enough


def measure(config: Config, limit_s: float) -> Measured:
    """Train a config for a few seconds.

    Args:
        config: A config that was checked.
        limit_s: Seconds to train.

    Raises:
        UserError: The config is wrong.
        RunError: The module or the data raised.
    """
    with tempfile.TemporaryDirectory(prefix="paceline-plan-") as folder, _threads(config):
        place = Path(folder)
        clock, before_s = _train(_here(config), limit_s, place / "long")
        short = clock
        size = _size(place / "long")
        if not clock.epochs and math.isfinite(clock.num_batches):
            short, _ = _train(_one_batch(config), limit_s, place / "short")
            size = size or _size(place / "short")
    return _measured(clock, short, before_s, size)


def _train(config: Config, limit_s: float, folder: Path) -> tuple[Clock, float]:
    """The clock of a training, and the seconds that it took until the first batch."""
    clock, started = Clock(limit_s), time.perf_counter()
    with told_as_failure(config), contextlib.suppress(Enough):
        built = prepare(config)
        fit(config, folder=folder, callbacks=[clock], built=built)
    return clock, max(0.0, clock.began - started)


def _measured(clock: Clock, short: Clock, before_s: float, size: int) -> Measured:
    warm = clock.steps[WARM_STEPS:] or clock.steps
    step_s = statistics.fmean(warm) if warm else math.nan
    whole = clock.epochs[1:] or clock.epochs
    epoch_s: float | None = None
    if whole:
        epoch_s = statistics.fmean(whole)
    elif math.isfinite(clock.num_batches):
        # What an epoch costs beside its batches is seen in the short one: the checkpoint, hooks.
        validation = _warm(short.validation_batches)
        beside = sum(short.epochs) - sum(short.steps) - sum(short.validation_batches)
        epoch_s = clock.num_batches * step_s + validation * clock.num_validation_batches
        epoch_s += max(0.0, beside)
    per_batch = clock.global_steps[-1][1] / len(clock.steps) if clock.steps else 1.0
    batches = clock.num_batches
    return Measured(
        overhead_s=before_s,
        epoch_s=epoch_s,
        steps_per_s=_rate(clock),
        steps_per_epoch=batches * per_batch if math.isfinite(batches) else None,
        checkpoint_bytes=size,
        steps=len(clock.steps),
    )


def _rate(clock: Clock) -> float:
    """Optimizer (or environment) steps a second, behind the first few."""
    moments = clock.global_steps[WARM_STEPS:] or clock.global_steps
    if len(moments) < 2 or moments[-1][0] <= moments[0][0]:
        return 0.0
    return (moments[-1][1] - moments[0][1]) / (moments[-1][0] - moments[0][0])


def _warm(seconds: list[float]) -> float:
    rest = seconds[1:] or seconds
    return statistics.fmean(rest) if rest else 0.0


def _here(config: Config) -> Config:
    """The config as one worker trains it, without what a sweep's trial has not."""
    quiet = {"trainer.enable_progress_bar": False, "trainer.enable_model_summary": False}
    if not config.launch.gpus_per_worker:  # Ray hides the GPUs from such a trial
        quiet |= {"trainer.accelerator": "cpu"}
    if config.launch.has_many_workers:
        quiet |= {"launch.num_workers": 1, "launch.max_workers": None}
    return config.override(quiet)


def _one_batch(config: Config) -> Config:
    limits = {"trainer.limit_train_batches": 1, "trainer.limit_val_batches": VALIDATION_BATCHES}
    once = {"trainer.max_epochs": 1, "trainer.max_steps": -1, "trainer.val_check_interval": 1.0}
    return _here(config).override({**limits, **once, "trainer.check_val_every_n_epoch": 1})


def _size(folder: Path) -> int:
    path = folder / LATEST
    return path.stat().st_size if path.exists() else 0


@contextlib.contextmanager
def _threads(config: Config) -> Iterator[None]:
    """As many threads as Ray gives a trial."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, int(config.launch.cpus_per_worker)))
    try:
        yield
    finally:
        torch.set_num_threads(before)

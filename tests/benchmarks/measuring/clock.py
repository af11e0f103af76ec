"""Time of the training part of each epoch of a `Trainer`."""

from __future__ import annotations

import time

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback


class EpochClock(Callback):
    """Takes the time from before an epoch's first batch until after its last.

    Attributes:
        seconds: One number an epoch.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:  # the first hook after an epoch's last batch
            self.seconds.append(time.perf_counter() - self._began)

"""A model that takes its time and logs each step, and raises, leaves or hangs in one worker."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Steady(LightningModule):
    """y = w x; each step lasts `step_s` and is logged by its own number.

    Args:
        step_s: Seconds.
        raises_at: Step at which the second worker raises.
        leaves_at: Step at which its process ends.
        hangs_at: Step at which it stands still, once: the file `hung` tells that it did.
        notes: File to which the first worker adds the number of each step it has trained.
    """

    def __init__(
        self,
        step_s: float = 0.0,
        raises_at: int = -1,
        leaves_at: int = -1,
        hangs_at: int = -1,
        notes: str | None = None,
    ):
        super().__init__()
        self.step_s, self.hangs_at, self.notes = step_s, hangs_at, notes
        self.raises_at, self.leaves_at = raises_at, leaves_at
        self.line = nn.Linear(1, 1)

    def _loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        return (self.line(x) - y).square().mean()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        time.sleep(self.step_s)
        if self.global_rank == 1 and self.global_step == self.raises_at:
            raise KeyError("the slip")
        if self.global_rank == 1 and self.global_step == self.leaves_at:
            os._exit(1)
        if self.global_rank == 1 and self.global_step == self.hangs_at:
            self._hang()
        self.log("train/number", float(self.global_step))
        return self._loss(batch)

    def on_train_batch_end(self, *_: Any) -> None:
        if self.notes and self.global_rank == 0:
            with open(self.notes, "a") as notes:
                notes.write(f"{self.global_step - 1}\n")

    def _hang(self) -> None:
        with contextlib.suppress(FileExistsError):
            Path("hung").touch(exist_ok=False)
            threading.Event().wait()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", self._loss(batch), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Line(LightningDataModule):
    """Points of y = 2 x."""

    def __init__(self, size: int = 64, batch_size: int = 4):
        super().__init__()
        self.size, self.batch_size = size, batch_size

    def _loader(self) -> DataLoader:
        x = torch.linspace(-1, 1, self.size)[:, None]
        return DataLoader(TensorDataset(x, 2 * x), self.batch_size)

    train_dataloader = val_dataloader = _loader


class Teller(Callback):
    """Reports each epoch to the driver, and stops when it says so."""

    def __init__(self, prefix: str, report: Callable[[dict[str, Any]], None]):
        self.prefix, self.report = prefix, report

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        try:
            self.report({self.prefix: trainer.current_epoch})
        except SystemExit:
            trainer.should_stop = True

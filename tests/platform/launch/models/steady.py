"""A model that takes its time and logs each step, and one that raises in one worker only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Steady(LightningModule):
    """y = w x; each step lasts `step_s` and is logged by its own number."""

    def __init__(self, step_s: float = 0.0, raises_at: int = -1, leaves_at: int = -1):
        super().__init__()
        self.step_s, self.raises_at, self.leaves_at = step_s, raises_at, leaves_at
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
        self.log("train/number", float(self.global_step))
        return self._loss(batch)

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

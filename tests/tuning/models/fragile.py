"""A model that learns a line, or raises, diverges, dies, hangs or fills the disk when asked to."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Fragile(LightningModule):
    """y = w x with an optional mishap in the second epoch."""

    def __init__(self, mishap: str = "none", offset: float = 0.0):
        super().__init__()
        self.mishap, self.offset = mishap, offset
        self.line = nn.Linear(1, 1)

    def _loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        return (self.line(x) - y).square().mean()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if self.current_epoch == 1:
            if self.mishap == "raise":
                raise RuntimeError("the mishap that was asked for")
            if self.mishap == "die":
                os._exit(1)
            if self.mishap == "hang":
                time.sleep(3600)
            if self.mishap == "nan" and batch_idx == 1:
                return self._loss(batch) * float("nan")
            if self.mishap == "full":
                Path("/dev/full").write_text("a disk without room")
        return self._loss(batch)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        loss = self._loss(batch) + self.offset
        if self.mishap == "diverge":
            loss = loss * float("nan")
        self.log("val/loss", loss)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Line(LightningDataModule):
    """Sixteen points of y = 2 x."""

    def _loader(self) -> DataLoader:
        x = torch.linspace(-1, 1, 16)[:, None]
        return DataLoader(TensorDataset(x, 2 * x), batch_size=4)

    train_dataloader = val_dataloader = _loader

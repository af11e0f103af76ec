"""A model whose one weight tells its whole history: each step adds what the knobs were then.

The gradient is `-push`, so SGD adds the learning rate times the momentum's buffer to the weight.
Whoever knows the knobs of every step knows the weight.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

STEPS = 3  # batches of an epoch


class Ledger(LightningModule):
    """buffer <- momentum * buffer + push; weight <- weight + lr * buffer.

    Args:
        push: What each step adds.
        width: How many equal weights there are.
        start: What they begin with.
        mishap: `nan`, `kill` or `kill once` in the second epoch, at its second step.
        mark: A file that remembers that a mishap has happened.
    """

    def __init__(
        self,
        push: float = 1.0,
        width: int = 1,
        start: float = 0.0,
        mishap: str = "none",
        mark: str = "",
    ):
        super().__init__()
        self.save_hyperparameters()
        self.push, self.mishap, self.mark = push, mishap, Path(mark)
        self.weight = nn.Parameter(torch.full((width,), start, dtype=torch.float64))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = -self.push * self.weight.sum()
        if self.current_epoch == 1 and batch_idx == 1:
            if self.mishap == "nan":
                loss = loss * float("nan")
            if self.mishap == "kill" or (self.mishap == "kill once" and not self.mark.exists()):
                self.mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does it without memory
        self.log("train/weight", self.weight.detach()[0], on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/weight", self.weight.detach()[0])


class Process(Callback):
    """Logs which process trains."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("pid", float(os.getpid()))


class Steps(LightningDataModule):
    """Three samples of nothing, and as many batches unless they are larger."""

    def __init__(self, batch_size: int = 1):
        super().__init__()
        self.batch_size = batch_size

    def _loader(self) -> DataLoader:
        return DataLoader(TensorDataset(torch.zeros(STEPS, 1)), batch_size=self.batch_size)

    train_dataloader = val_dataloader = _loader

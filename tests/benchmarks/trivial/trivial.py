"""The least that a trial can be: one linear layer, one batch, one step, one validation."""

from __future__ import annotations

import os

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

if "PACELINE_BENCH_STACKS" in os.environ:
    # Every process of the sweep imports this module, so here each begins to look at itself.
    import stacks  # pyright: ignore[reportMissingImports] - it is copied beside this file

    stacks.start(os.environ["PACELINE_BENCH_STACKS"])


class OneBatch(pl.LightningDataModule):
    """Four samples, which are the training and the validation set."""

    def train_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(torch.ones(4, 8), torch.ones(4, 1)), batch_size=4)

    def val_dataloader(self) -> DataLoader:
        return self.train_dataloader()


class OneLayer(pl.LightningModule):
    """Least squares by one step of gradient descent."""

    def __init__(self, lr: float = 0.01):
        super().__init__()
        self.save_hyperparameters()
        self.lr, self.layer = lr, nn.Linear(8, 1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        inputs, targets = batch
        return (self.layer(inputs) - targets).square().mean()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.lr)

"""A module that looks about itself while it trains as a job; it is sent with the job's folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import mlflow
import pytorch_lightning as pl
import torch
from torch import nn


class Probe(pl.LightningModule):
    """Starts an MLflow run of its own, as a user's code may, and leaves a note of what it sees."""

    def __init__(
        self,
        note: str = "",
        seconds: float = 0.0,
        in_features: int | None = None,
        num_classes: int | None = None,
        width: int = 8,
    ):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(in_features or 64, width), nn.Linear(width, num_classes or 10)
        )

    def on_train_start(self) -> None:
        with mlflow.start_run(run_name="of-the-users-own"):
            mlflow.log_metric("x", 1.0)
        if note := self.hparams["note"]:
            lines = [*sorted(map(str, Path().iterdir())), *sorted(os.environ)]
            Path(note).write_text("\n".join(lines))

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        x, y = batch
        time.sleep(self.hparams["seconds"])
        return nn.functional.cross_entropy(self.layers(x), y)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        x, y = batch
        self.log("val/loss", nn.functional.cross_entropy(self.layers(x), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

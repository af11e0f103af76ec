"""After which optimizer steps of a real training checkpoints are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from paceline.platform.training.checkpoint_file import read
from paceline.platform.training.checkpoint_names import BEST, LATEST
from paceline.platform.training.checkpoints import Checkpoints
from paceline.platform.training.trainer_context import quiet
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset


class Line(LightningModule):
    """y = w x."""

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return (self.line(batch[0]) - batch[1]).square().mean()

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("score", float(self.current_epoch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Look(Callback):
    """Notes each step at which `latest.ckpt` was found to be newer."""

    def __init__(self, folder: Path):
        self.folder, self.saved = folder, list[int]()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        path = self.folder / LATEST
        if path.exists() and (step := read(path)["global_step"]) not in self.saved:
            self.saved.append(step)

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        self.on_train_batch_start(trainer)


def saved_at(folder: Path, num_epochs: int = 5, **options: Any) -> list[int]:
    """Steps after which a training of 4 steps an epoch was saved."""
    look = Look(folder)
    data = DataLoader(TensorDataset(torch.ones(8, 1), torch.ones(8, 1)), batch_size=2)
    with quiet():
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=num_epochs,
            callbacks=[look, Checkpoints(folder, "score", **options)],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Line(), data, data)
    return look.saved


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [4, 8, 12, 16, 20]),
        ({"every_n_epochs": 2}, [8, 16, 20]),
        ({"every_n_epochs": 9}, [20]),
        ({"every_n_steps": 3}, [3, 4, 7, 8, 11, 12, 15, 16, 19, 20]),
        ({"every_n_epochs": 3, "every_n_steps": 3}, [3, 6, 9, 12, 15, 18, 20]),
    ],
)
def test_checkpoints_are_written_after_so_many_epochs_or_steps_and_the_last(
    tmp_path: Path, options: dict[str, int], steps: list[int]
):
    assert saved_at(tmp_path, **options) == steps


def test_a_step_that_ends_an_epoch_is_judged_as_the_epochs_too(tmp_path: Path):
    saved_at(tmp_path, mode="max", every_n_steps=4)
    assert read(tmp_path / BEST)["epoch"] == 4  # the last epoch has the largest score

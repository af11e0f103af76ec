"""After which optimizer steps of a real training checkpoints are written."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from paceline.platform.training.agreement import leave_now
from paceline.platform.training.checkpoint_file import newest_whole, read
from paceline.platform.training.checkpoint_names import BEST, LATEST
from paceline.platform.training.checkpoints import Checkpoints, is_validated_next
from paceline.platform.training.trainer_context import quiet
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import SIGTERMException
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


class Killed(BaseException):
    """The process ends here."""


class Die(Callback):
    """Dies while a step's validation runs or before its batch, or leaves in order behind it."""

    def __init__(self, manner: str, step: int, validated: list[int]):
        self.manner, self.step, self.validated = manner, step, validated

    def _is_now(self, trainer: Trainer, manner: str) -> bool:
        return (self.manner, self.step) == (manner, trainer.global_step)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        if self._is_now(trainer, "killed in validation"):
            raise Killed

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        self.validated.append(trainer.global_step)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if self._is_now(trainer, "killed"):
            raise Killed

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._is_now(trainer, "leaves") and not is_validated_next(trainer):
            leave_now(trainer)


@pytest.mark.parametrize(
    "deaths",
    [
        [("killed in validation", 4), ("killed in validation", 8)],
        [("killed in validation", 4), ("killed", 6), ("killed in validation", 16)],
        [("leaves", 1), ("leaves", 3), ("leaves", 7), ("killed in validation", 8), ("leaves", 9)],
        [("killed", 3), ("killed", 4), ("leaves", 7), ("killed", 7), ("killed in validation", 20)],
    ],
)
@pytest.mark.parametrize(
    ("interval", "validations"),
    [({}, [4, 8, 12, 16, 20]), ({"val_check_interval": 2}, [*range(2, 21, 2)])],
)
@pytest.mark.filterwarnings("ignore:.*dataloader is not resumable")
def test_however_often_it_is_ended_a_run_has_each_validation_and_no_epoch_twice(
    tmp_path: Path,
    deaths: list[tuple[str, int]],
    interval: dict[str, int],
    validations: list[int],
):
    data = DataLoader(TensorDataset(torch.ones(8, 1), torch.ones(8, 1)), batch_size=2)
    validated: list[int] = []
    for manner, step in [*deaths, ("", 0)]:
        die = Die(manner, step, validated)
        with quiet(), contextlib.suppress(Killed, SIGTERMException):
            trainer = Trainer(
                accelerator="cpu",
                max_epochs=5,
                callbacks=[die, Checkpoints(tmp_path, "score", every_n_steps=2)],
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                **interval,
            )
            checkpoint = newest_whole(tmp_path)
            trainer.fit(Line(), data, data, ckpt_path=checkpoint, weights_only=True)
    assert validated == validations
    assert read(tmp_path / LATEST)["global_step"] == 20

"""A model that writes down on which node and with which GPU it trains, and takes its time."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn


class Whereabouts(LightningModule):
    """One weight that counts its steps.

    Args:
        notes: Folder of the notes, one a process.
        pause_s: What a step takes.
        number: Tells the trials apart.
    """

    def __init__(self, notes: str, pause_s: float = 0.1, number: int = 0):
        super().__init__()
        self.notes, self.pause_s, self.number = Path(notes), pause_s, number
        self.weight = nn.Parameter(torch.zeros(1))

    def on_train_start(self) -> None:
        import ray

        node = ray.get_runtime_context().get_node_id()
        note = {"node": node, "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "pid": os.getpid()}
        (self.notes / f"{self.number}-{os.getpid()}.json").write_text(json.dumps(note))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        time.sleep(self.pause_s)
        self.log("train/weight", self.weight.detach()[0], on_step=True, on_epoch=False)
        return -self.weight.sum()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/weight", self.weight.detach()[0])

"""What a generative module makes while it learns: sampled text and pictures, epoch by epoch.

A module that has `snapshots()`, name -> text or figure, is asked after a validation, about
twenty times in a run; what it returns becomes `snapshots/epoch-0003/NAME.txt` or `.png`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from .background import Background
from .store import Store

logger = logging.getLogger("paceline.tracking")

MOST = 20  # snapshots of a run, beside the first


class Snapshots(Callback):
    """Asks the module for snapshots and writes them beside the training, on rank 0.

    Args:
        background: Where the writing happens.
        store: The store of the run.
        run_id: The run.
    """

    def __init__(self, background: Background, store: Store, run_id: str):
        self.background, self.store, self.run_id = background, store, run_id

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take a snapshot where one is due."""
        epoch = trainer.current_epoch + 1
        if trainer.sanity_checking or not hasattr(pl_module, "snapshots"):
            return
        if not trainer.is_global_zero or not is_due(epoch, trainer.max_epochs):
            return
        try:
            # A snapshot must not change what is learned after it.
            devices = [pl_module.device] if pl_module.device.type == "cuda" else []
            with torch.random.fork_rng(devices), torch.no_grad():
                made = pl_module.snapshots()  # pyright: ignore[reportCallIssue]
        except Exception as error:  # the family's own code, which may raise anything
            logger.warning("The snapshots could not be made: %s", error, exc_info=True)
            return
        self.background.post(lambda: log_snapshots(self.store, self.run_id, epoch, made))


def is_due(epoch: int, max_epochs: int | None) -> bool:
    """Whether a snapshot is taken after an epoch, counted from 1: the first, the last, and between.

    Without an end in sight after 1, 2, 3, 4, 6, 8, 12, ... epochs: each half as late again.
    """
    if max_epochs is not None and max_epochs > 0:
        stride = math.ceil(max_epochs / MOST)
        return epoch == 1 or epoch % stride == 0 or epoch == max_epochs
    largest = 1 << (epoch.bit_length() - 1)
    return epoch in (largest, largest * 3 // 2)


def log_snapshots(store: Store, run_id: str, epoch: int, made: Mapping[str, Any]) -> None:
    """Write texts and matplotlib figures where MLflow's page shows them, an epoch a folder."""
    for name, snapshot in made.items():
        place = f"snapshots/epoch-{epoch:04d}/{name}"
        if isinstance(snapshot, str):
            store.outlet.send_text(run_id, snapshot, f"{place}.txt")
        else:
            store.outlet.send_figure(run_id, snapshot, f"{place}.png")

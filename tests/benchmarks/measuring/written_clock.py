"""A clock in another process, which leaves what it has measured in a file."""

from __future__ import annotations

import json
from pathlib import Path

from pytorch_lightning import LightningModule, Trainer

from .clock import EpochClock


class WrittenClock(EpochClock):
    """Writes the seconds of each epoch and the last training loss when the run ends.

    Args:
        path: A file.
    """

    def __init__(self, path: str):
        super().__init__()
        self.path = Path(path)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, in rank 0."""
        if trainer.is_global_zero:
            loss = float(trainer.callback_metrics["train/loss"])
            self.path.write_text(json.dumps({"seconds": self.seconds, "loss": loss}))

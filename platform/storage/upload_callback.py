"""Lets a training run upload its checkpoints: a callback, and the wait at the run's end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import SIGTERMException

from ..signals import Interrupted
from ..training.checkpoint_names import BEST
from .checkpoint_objects import CheckpointObjects
from .location import parse
from .object_store import ObjectStore
from .uploader import PATIENCE_S, Uploader

# A machine that is about to go, or a user who wants to, waits no longer than this.
LEAVING_S = 15.0


class UploadCheckpoints(Callback):
    """Offers each checkpoint to an uploader once it is whole.

    Args:
        uploader: The uploader of the run's folder.
    """

    def __init__(self, uploader: Uploader):
        self.uploader = uploader

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What an earlier attempt left here may never have been uploaded."""
        self.uploader.offer(trainer.global_step)

    def on_checkpoint_saved(self, trainer: Trainer) -> None:
        """The latest is a new one, and so may be the best."""
        self.uploader.offer(trainer.global_step)


@dataclass(frozen=True)
class Uploads:
    """What is uploaded of a run.

    Args:
        uploader: Its uploader; None: nothing is.
    """

    uploader: Uploader | None = None

    @property
    def callbacks(self) -> list[Callback]:
        """What the training needs for it."""
        return [UploadCheckpoints(self.uploader)] if self.uploader else []

    def address(self, checkpoint: str | None) -> str | None:
        """Where the best checkpoint is: in the store, or still here.

        Args:
            checkpoint: Its path; None: there is none.
        """
        pointer = self.uploader.uploaded(BEST) if self.uploader and checkpoint else None
        return self.uploader.objects.uri(pointer) if self.uploader and pointer else checkpoint


@contextlib.contextmanager
def uploading(place: str | None, folder: Path) -> Iterator[Uploads]:
    """Upload a run's checkpoints while it trains, and wait at the end for what is left.

    Args:
        place: The run's own place in an object store; None: its checkpoints stay in the folder.
        folder: Where they are saved.
    """
    if place is None:
        yield Uploads()
        return
    uploader = Uploader(CheckpointObjects(ObjectStore(parse(place))), folder)
    most_s, has_ended = None, False
    try:
        yield Uploads(uploader)
        has_ended = True
    except (Interrupted, KeyboardInterrupt, SIGTERMException):
        most_s = LEAVING_S
        raise
    finally:
        if uploader.close(PATIENCE_S, most_s) and has_ended:
            uploader.tidy()

"""What holds while Lightning's trainer works, and no longer: silence, number formats, processes."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import warnings
from collections.abc import Iterator

import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

# What Lightning says about choices that Paceline makes on purpose.
_KNOWN_WARNINGS = (
    ".*does not have many workers.*",  # in-memory batches need none
    ".*`LightningDataModule.*state_dict.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*GPU available but not used.*",
    ".*overridden `transfer_batch_to_device` in `LightningModule`.*",
    ".*number of training batches .* is smaller than the logging interval.*",
    ".*`srun` command is available on your system but is not used.*",  # runs start without it
    ".*`isinstance.treespec, LeafSpec.` is deprecated.*",  # torch's, inside Lightning
)
# What Lightning sets when it starts the other ranks of a DDP run.
_RANK_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advice about what Paceline chose on purpose."""
    os.environ.setdefault("PL_DISABLE_TIPS", "1")
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _KNOWN_WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Denormal numbers slow some CPUs a hundredfold; weights that decay towards 0 become some."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextlib.contextmanager
def own_process_group() -> Iterator[None]:
    """Take a DDP run's process group down with it, so that a second run can start its own.

    Lightning leaves the group and its variables behind; a next run would take itself for one that
    was started from outside, and wait for ranks that have gone.
    """
    is_given = dist.is_available() and dist.is_initialized()
    before = {name: os.environ.get(name) for name in _RANK_VARIABLES}
    try:
        yield
    finally:
        if not is_given and dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


class EndOtherRanks(Callback):
    """Ends the processes that this one started as soon as its own work ends early.

    Lightning does so for Ctrl-C alone; after SIGTERM or an error they would wait for this rank
    until the connection breaks, and tell of that.
    """

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """End them before Lightning takes the connection down."""
        launcher = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signal.SIGKILL)  # as Lightning does; they have nothing to write

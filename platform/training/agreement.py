"""All processes of a run agree, now and then, whether one of them was told to leave or to stop.

To leave is to save where the training stands and to end; to stop is what early stopping does: the
epoch's last validation is made, and the run has ended by itself.

Lightning broadcasts at each batch whether rank 0 has received SIGTERM, and waits for the answer.
Here any rank may have been told; they ask each other about twice a second, in one small all-reduce.
Each counts the same batches to the next question, because the answer carries how long a batch takes
the slowest of them. Behind that question all are at the same batch: a checkpoint can be written.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import torch
import torch.distributed as dist
from pytorch_lightning import Trainer
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector
from pytorch_lightning.utilities.exceptions import SIGTERMException

from .checkpoints import Checkpoints
from .step_overhead import replaced

EVERY_S = 0.5
MOST_BATCHES = 1000

# Set by whoever wants this process's run to leave in order, a signal handler for instance.
told_to_leave = threading.Event()
# Set where a callback that one process alone has wants the training to stop.
told_to_stop = threading.Event()


def batches_until_next(seconds_per_batch: float) -> int:
    """How many batches to train before the processes ask each other again."""
    return max(1, min(MOST_BATCHES, int(EVERY_S / max(seconds_per_batch, 1e-6))))


class Agreement:
    """Asks the other processes at a pace that costs nothing."""

    def __init__(self):
        self._num_batches, self._next = -1, 1  # the first batch is timed, not asked about
        self._asked_at = 0.0

    def asked(self, trainer: Trainer) -> tuple[bool, bool]:
        """Whether any process was told to leave, and to stop; the same in all, once a batch."""
        self._num_batches += 1
        if self._num_batches == 0:
            self._asked_at = time.monotonic()
        if self._num_batches < self._next:
            return False, False
        now = time.monotonic()
        is_told = trainer.received_sigterm or told_to_leave.is_set()
        seconds = (now - self._asked_at) / self._num_batches
        told = [float(is_told), float(told_to_stop.is_set()), seconds]
        question = torch.tensor(told, device=trainer.strategy.root_device)
        dist.all_reduce(question, dist.ReduceOp.MAX)
        leaves, stops, seconds = question.tolist()
        self._num_batches, self._next = 0, batches_until_next(seconds)
        self._asked_at = time.monotonic()
        return leaves > 0, stops > 0


@contextlib.contextmanager
def leaving_together() -> Iterator[None]:
    """Let the processes of a fit leave at the same batch, whichever of them was told to."""
    with (
        replaced(_TrainingEpochLoop, "_broadcast_sigterm_tensor", lambda plain: _leave_together),
        replaced(_SignalConnector, "_sigterm_notifier_fn", lambda plain: _note_sigterm),
    ):
        try:
            yield
        finally:
            told_to_leave.clear()
            told_to_stop.clear()


def _leave_together(loop: _TrainingEpochLoop) -> None:
    """What stands in the place of Lightning's broadcast before each batch.

    Raises:
        SIGTERMException: The run ends here, in all processes; what it has is in `latest.ckpt`.
    """
    agreement = loop.__dict__.setdefault("paceline_agreement", Agreement())
    leaves, stops = agreement.asked(loop.trainer)
    if leaves:
        leave_now(loop.trainer)
    if stops:
        stop_now(loop.trainer)


def leave_now(trainer: Trainer) -> NoReturn:
    """Write `latest.ckpt` where the training stands and end it; all processes together.

    Raises:
        SIGTERMException: Always.
    """
    for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(callback, Checkpoints):
            callback.save_latest(trainer)
    raise SIGTERMException


def stop(trainer: Trainer) -> None:
    """Let the training stop, at once or where all processes have agreed on it."""
    if trainer.world_size > 1:
        told_to_stop.set()
    else:
        stop_now(trainer)


def stop_now(trainer: Trainer) -> None:
    """Stop behind this batch or epoch, whatever minimum the config asks for; in all processes."""
    trainer.fit_loop.min_epochs = 0
    trainer.fit_loop.epoch_loop.min_steps = None
    trainer.should_stop = True


def _note_sigterm(connector: _SignalConnector, signum: int, frame: FrameType | None) -> None:
    """What stands in the place of Lightning's handler, which sends a broadcast from wherever it is.

    The other processes may be in the middle of an all-reduce then.
    """
    trainer = connector.trainer
    if trainer.strategy.launcher is not None and not connector.received_sigterm:
        trainer.strategy.launcher.kill(signum)
    if trainer.world_size > 1:
        told_to_leave.set()
    else:
        connector.received_sigterm = True

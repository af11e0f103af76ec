"""What each worker of a run tells every few seconds while it trains: how far it is, and where.

All of it is read by a thread beside the training: Lightning counts its batches anyway, and Python
knows where each thread stands. The training itself does nothing for it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from .standstill import Beat

EVERY_S = 5.0
# Where Python stands while a collective call, or a backward pass with one in it, waits for others.
_TORCH = Path(torch.__file__).parent
_WAITS_IN = tuple(
    str(_TORCH / name)
    for name in ("distributed/", "nn/parallel/distributed.py", "autograd/graph.py")
)
_STANDARD = str(Path(threading.__file__).parent)


class Heartbeat(Callback):
    """Tells of a worker's progress from the training's begin to its end.

    Args:
        send: Takes a beat, and does not keep its thread waiting.
        node: This node's name, where there are several.
        every_s: Seconds from one beat to the next.
    """

    def __init__(self, send: Callable[[Beat], object], node: str = "", every_s: float = EVERY_S):
        self.send, self.node, self.every_s = send, node, every_s
        self._thread_id = self._num_before = self._num_moves = 0
        self._stack: tuple[Any, ...] = ()
        self._is_over = threading.Event()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to tell; counters go on from the checkpoint's."""
        self._thread_id = threading.get_ident()
        self._num_before = trainer.fit_loop.epoch_loop.batch_progress.total.processed  # pyright: ignore
        thread = threading.Thread(
            target=self._tell, args=(trainer,), name="paceline-heartbeat", daemon=True
        )
        thread.start()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What follows, pictures for one, may take its time."""
        self._is_over.set()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """What has failed is told elsewhere."""
        self._is_over.set()

    def _tell(self, trainer: Trainer) -> None:
        self.send(self.beat(trainer))
        while not self._is_over.wait(self.every_s):
            self.send(self.beat(trainer))
        self.send(self.beat(trainer))

    def beat(self, trainer: Trainer) -> Beat:
        """How far this worker is now."""
        loop = trainer.fit_loop.epoch_loop
        batches: Any = loop.batch_progress
        validated: Any = loop.val_loop.batch_progress
        frame = sys._current_frames().get(self._thread_id)
        is_waiting = frame is not None and frame.f_code.co_filename.startswith(_WAITS_IN)
        is_in_batch = any(p.current.started > p.current.processed for p in (batches, validated))
        stack = tuple((frame.f_code, frame.f_lasti) for frame in _frames(frame))
        # Inside a batch only its counters are progress; an epoch's end may compute for long.
        self._num_moves += stack != self._stack and not is_in_batch and not is_waiting
        self._stack = stack
        return Beat(
            passed=(
                _sum(trainer.fit_loop.epoch_progress.total),
                _sum(batches.total),
                _sum(validated.total),
            ),
            num_moves=self._num_moves,
            is_waiting=is_waiting,
            where=_place(frame),
            node=self.node,
            has_trained=batches.total.processed > self._num_before,
            is_over=self._is_over.is_set(),
        )


def _sum(counters: Any) -> int:
    return counters.ready + counters.started + counters.processed + counters.completed


def _frames(frame: FrameType | None) -> list[FrameType]:
    """A frame and those that called it."""
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


def _place(frame: FrameType | None) -> str:
    """`file:line in function` of the innermost frame that is not the standard library's."""
    frames = _frames(frame)
    for found in frames:
        path = found.f_code.co_filename
        if not path.startswith(_STANDARD) or "site-packages" in path:
            return f"{path}:{found.f_lineno} in {found.f_code.co_name}"
    return "" if frame is None else f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}"

"""What Lightning leaves to modules that optimize by themselves: schedules, means over processes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor


def move_schedules(trainer: Any, num_steps: int, interval: str) -> None:
    """Move learning-rate schedules, which Lightning leaves to a module that optimizes by itself.

    Args:
        trainer: Has them.
        num_steps: How far.
        interval: Which of them: those that count a `step` or an `epoch`.
    """
    with warnings.catch_warnings():
        # Before learning starts the optimizer has made no step, which torch warns of.
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        for schedule in (
            c.scheduler for c in trainer.lr_scheduler_configs if c.interval == interval
        ):
            left = getattr(schedule, "total_steps", np.inf) - schedule.last_epoch
            if (count := min(num_steps, left)) >= 1:
                # Those that count steps say their rate for any step, without those before.
                schedule.last_epoch += count - 1
                schedule.step()


def average_over_ranks(trainer: Any, tensors: list[Tensor]) -> None:
    """Replace tensors by their mean over the processes, in one message."""
    if trainer.world_size == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    mean = trainer.strategy.reduce(flat, reduce_op="mean")
    for tensor, part in zip(tensors, mean.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))

"""What a batch holds, with or without labels, and its mean where several processes share it."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor


def parts(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Inputs, and labels if the batch has any.

    Args:
        batch: (inputs, labels), (inputs,) or inputs.
    """
    if isinstance(batch, (tuple, list)):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None


def shared_mean(total: Tensor, count: Tensor) -> Tensor:
    """A sum of losses over a number of terms that differs from process to process.

    DDP takes the mean of the processes' gradients. A mean over the terms of one's own would then
    give each term of a process with few of them more weight; with this one, all weigh the same.

    Args:
        total: The sum over this process's terms, a scalar.
        count: How many these are, a scalar.

    Returns:
        total / count of one process alone; of W processes W total / (all their counts together).
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return total / count
    terms = count.to(total.dtype, copy=True)
    dist.all_reduce(terms)
    return dist.get_world_size() * total / terms

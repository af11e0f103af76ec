"""Means of losses over the examples of an epoch, without a look at any batch's numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class EpochMeans:
    """Sums of named losses. They stay on the device: reading one would stall it at every batch.

    Args:
        names: What is summed.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self._sums = torch.zeros(len(self.names))
        self._count = 0

    def __len__(self) -> int:
        """How many examples were counted."""
        return self._count

    def add(self, size: int, *losses: Tensor) -> None:
        """Count the mean losses of `size` examples, each a scalar, in the order of the names."""
        row = torch.stack(losses).detach().float()  # (names,)
        self._sums = self._sums.to(row.device).add(row, alpha=size)
        self._count += size

    def means(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Name -> mean over the examples of all ranks, whose shares may differ by one.

        Args:
            sum_over_ranks: Adds up a tensor over the processes; called once.
        """
        count = self._sums.new_tensor([float(self._count)])
        total = sum_over_ranks(torch.cat((self._sums, count)))
        return dict(zip(self.names, total[:-1] / total[-1], strict=True))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint in the middle of an epoch must keep."""
        return {"sums": self._sums, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting where the checkpoint was written."""
        self._sums, self._count = state["sums"], state["count"]

"""Batches of sentences that are about equally long, so that little padding is computed.

All sentences are shuffled, sorted by their lengths in coarse steps, cut into batches, and the
batches shuffled: what is drawn together changes each epoch. As in `BatchOrder` the order is a
function of (seed, epoch), and W processes share each batch of W times the size.
N samples, B batch, W processes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..order import BatchOrder, derive_seed

STEP = 2  # units; lengths closer than this count as equal


class LengthOrder(BatchOrder):
    """The shuffled index slices of one process for one epoch, of about equal lengths each.

    Every process gets equally many batches, and of each batch equally many samples; where N is no
    multiple of W a few samples are visited twice.

    Args:
        lengths: Of source and target, (N, 2) int64.
        batch_size: B.
        **rules: See `BatchOrder`.
    """

    def __init__(self, lengths: Tensor, batch_size: int, **rules: Any):
        super().__init__(len(lengths), batch_size, even=True, **rules)
        coarse = lengths // STEP
        self.keys = coarse[:, 1] * (int(coarse[:, 0].max()) + 1) + coarse[:, 0]  # (N,)

    def indices(self) -> Tensor:
        """The samples of this process in the order of this epoch, (shard_size,) int64."""
        if not self.shuffle:
            return super().indices()
        seed = derive_seed("length order", self.seed, self.epoch)
        generator = torch.Generator().manual_seed(seed)
        total, together = self.shard_size() * self.world_size, self.batch_size * self.world_size
        order = torch.randperm(self.num_samples, generator=generator)
        order = order.repeat(-(-total // self.num_samples))[:total]
        order = order[self.keys[order].argsort(stable=True)]
        full, rest = divmod(total, together)
        # The batch that is not full stands at the end, but may be of any length.
        cut = int(torch.randint(full + 1, (), generator=generator)) * together
        last, order = order[cut : cut + rest], torch.cat((order[:cut], order[cut + rest :]))
        batches = order.view(full, together)[torch.randperm(full, generator=generator)]
        return torch.cat((batches.flatten(), last))[self.rank :: self.world_size]

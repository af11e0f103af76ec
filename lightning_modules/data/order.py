"""In which order, and by which process, samples are visited: pure arithmetic, no data.

The order is a function of (seed, epoch) alone, so that a resumed run visits what the uninterrupted
run would have visited, and every process of a distributed run computes the same permutation
without talking.

With W processes, process r takes every W-th sample from the r-th on. Batch i of all processes
together is then batch i of one process with a batch W times as large: widening a run changes where
it runs, not what it sees.

Letters: N samples, W processes, B batch.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from numbers and words; neighbours give unrelated seeds."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class BatchOrder:
    """The index slices of one process for one epoch.

    Lightning tells a loader the epoch through `loader.batch_sampler.sampler.set_epoch`; this class
    stands at `batch_sampler` and names itself as its `sampler`.

    Args:
        num_samples: N, at least 1.
        batch_size: B, samples per batch of one process.
        shuffle: Visit in a random order that changes each epoch; else in the order of storage.
        drop_last: Leave out what does not fill a batch.
        even: Every process gets equally many samples (training: each step needs all processes):
            some are visited twice, or left out with `drop_last`. Without it each sample is visited
            exactly once (evaluation: counts stay true).
        seed: Start of all randomness.
        rank: This process, 0 to W - 1.
        world_size: W.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        even: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.num_samples, self.batch_size = num_samples, batch_size
        self.shuffle, self.drop_last, self.even = shuffle, drop_last, even
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.epoch = 0

    @property
    def sampler(self) -> BatchOrder:
        """Itself: the object that Lightning tells the epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of this epoch (from 0) for the next iteration."""
        self.epoch = epoch

    def shard_size(self) -> int:
        """How many samples this process visits in an epoch."""
        if not self.even:
            return len(range(self.rank, self.num_samples, self.world_size))
        if self.drop_last:
            return self.num_samples // self.world_size
        return -(-self.num_samples // self.world_size)

    def __len__(self) -> int:
        """Batches of this process in an epoch."""
        size = self.shard_size()
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)

    def indices(self) -> Tensor:
        """The samples of this process in the order of this epoch, (shard_size,) int64."""
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive_seed("order", self.seed, self.epoch))
            order = torch.randperm(self.num_samples, generator=generator)
        else:
            order = torch.arange(self.num_samples)
        if self.even:
            # Wrap around, as often as it takes: there may be more processes than samples.
            total = self.shard_size() * self.world_size
            order = order.repeat(-(-total // self.num_samples))[:total]
        return order[self.rank :: self.world_size]

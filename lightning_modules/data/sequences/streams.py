"""A long sequence as parallel streams, read window by window, for truncated backpropagation.

A recurrent network carries its state from one window to the next (Williams and Peng 1990), so row b
of each batch must go on where row b of the batch before it ended. The sequence is laid out as B
streams side by side, one a row, and a batch is T columns of them:

    text "abcdefgh...", B = 2, T = 2    row 0:  ab cd ...
                                        row 1:  mn op ...

An epoch goes over the streams once. What does not fill B x T columns is left out of it, and where
the streams begin is drawn anew for each epoch, so that others are left out and the cuts between
windows fall elsewhere. Validation leaves nothing out.

Letters: N symbols in the sequence, B streams of one process, W processes, T symbols in a window.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..order import derive_seed
from ..resumable import ResumableLoader

IGNORED = -100  # a target that does not count; torch's cross entropy leaves it out, too
LONGEST_WINDOW = 512  # of an evaluation, where no gradients are kept


class TrainingStreams:
    """Streams that begin at another place each epoch; pure arithmetic.

    Args:
        num_symbols: N, of which the first is never a target.
        batch_size: B.
        window: T.
        seed: Start of all randomness.
        rank: This process, 0 to W - 1.
        world_size: W: the processes together read W x B streams.
    """

    def __init__(
        self,
        num_symbols: int,
        batch_size: int,
        window: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.batch_size, self.window, self.seed = batch_size, window, seed
        self.rank, self.num_streams = rank, batch_size * world_size
        self.num_targets = num_symbols - 1
        self.epoch = 0

    def __len__(self) -> int:
        """Windows in an epoch."""
        return self.num_targets // (self.num_streams * self.window)

    def offset(self) -> int:
        """Where the first stream of this epoch begins, a function of seed and epoch."""
        left_out = self.num_targets - len(self) * self.num_streams * self.window
        return derive_seed("streams", self.seed, self.epoch) % (left_out + 1)

    def rows(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of this process's streams, each (B, len x T)."""
        length = len(self) * self.window
        start = self.offset() + self.rank * self.batch_size * length
        count = self.batch_size * length
        inputs, targets = (sequence[s : s + count] for s in (start, start + 1))
        return inputs.view(-1, length), targets.view(-1, length)  # (B, len x T)


class EvaluationStreams:
    """Streams in which every symbol but the first is a target exactly once.

    One stream would be exact and slow: its steps cannot run side by side. Each further stream
    starts without a past and so costs a few nats once. Where the sequence ends before the last
    streams do, targets are `IGNORED`.

    Args:
        num_symbols: N.
        most: Streams that all processes read together, at most, if there are fewer processes.
        at_least: Symbols that a stream has at least, unless there are more processes.
        rank: This process, 0 to W - 1; of n streams it reads every W-th.
        world_size: W.
    """

    seed = epoch = 0

    def __init__(
        self,
        num_symbols: int,
        *,
        most: int = 16,
        at_least: int = 2048,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.num_targets = num_symbols - 1
        streams = max(1, min(most, self.num_targets // at_least), world_size)
        self.length = -(-self.num_targets // streams)
        self.num_streams = streams
        self.window = min(LONGEST_WINDOW, self.length)
        self.rank, self.world_size = rank, world_size
        self.batch_size = len(range(rank, streams, world_size))

    def __len__(self) -> int:
        """Windows; the last may be shorter."""
        return -(-self.length // self.window)

    def rows(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of this process's streams, each int64 (streams, length)."""
        inputs = torch.zeros(self.num_streams * self.length, dtype=torch.long)
        targets = torch.full_like(inputs, IGNORED)
        inputs[: self.num_targets] = sequence[:-1].cpu()
        targets[: self.num_targets] = sequence[1:].cpu()
        mine = slice(self.rank, None, self.world_size)
        shape = self.num_streams, self.length
        rows = (values.view(shape)[mine].to(sequence.device) for values in (inputs, targets))
        return next(rows), next(rows)  # (streams, length)


class StreamLoader(ResumableLoader):
    """Yields the windows of streams in order: (inputs, targets), each int64 (B, T).

    Lightning takes it as it is. It can be resumed in the middle of an epoch: its state names seed,
    epoch and how many windows were handed out. In a loop of one's own, call
    `loader.batch_sampler.set_epoch(epoch)` before each epoch.

    Args:
        sequence: The numbers of all symbols, (N,), on the device where batches are wanted.
        streams: How the sequence is laid out.
    """

    def __init__(self, sequence: Tensor, streams: TrainingStreams | EvaluationStreams):
        super().__init__(streams)
        self.sequence, self.streams = sequence, streams

    @property
    def batch_sampler(self) -> StreamLoader:
        """Itself: Lightning tells the epoch to `loader.batch_sampler.sampler`."""
        return self

    @property
    def sampler(self) -> StreamLoader:
        """Itself."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) of the next iteration."""
        self.streams.epoch = epoch

    @property
    def batch_size(self) -> int:
        """B."""
        return self.streams.batch_size

    def __len__(self) -> int:
        """Windows in an epoch."""
        return len(self.streams)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The epoch's windows. Nothing happens before the first is asked for."""
        streams = self.streams
        first, window = self._first_batch(), streams.window
        inputs, targets = streams.rows(self.sequence)
        for number in range(first, len(streams)):
            self._position = (streams.epoch, number + 1)
            columns = slice(number * window, (number + 1) * window)
            yield inputs[:, columns].long(), targets[:, columns].long()  # (B, T)

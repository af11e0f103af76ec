"""Pairs of sentences as whole tensors of subword units, and the data module they share.

Nothing is looked at sentence by sentence while training: a batch is an index slice of two padded
tensors, cut to the longest sentence in it. Tensors stay on the host, since a batch is a few
kilobytes. N pairs, B batch, S units of a source, T units of a target, its beginning and end
included.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..arguments import whole_number, wrong
from ..order import BatchOrder
from ..placed_batches import PlacedBatches
from ..resumable import ResumableLoader
from ..run_share import process_share, run_seed
from .length_order import LengthOrder
from .subword_cache import learned
from .subwords import BEGIN, END, Subwords

SPLITS = ("train", "val", "test")
EVALUATION_BATCH = 128
Texts = tuple[list[str], list[str]]  # sources and their targets

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pairs:
    """Sources (N, S) that end with END, targets (N, T) with BEGIN and END; int32, padded.

    `lengths` is (N, 2) int64, without the padding.
    """

    source: Tensor
    target: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        """N."""
        return len(self.lengths)

    def kept(self, keep: Tensor) -> Pairs:
        """The pairs that are marked, (N,) bool, cut to the longest of them."""
        lengths = self.lengths[keep]
        widest = lengths.amax(0).tolist() if len(lengths) else (0, 0)
        source, target = self.source[keep, : widest[0]], self.target[keep, : widest[1]]
        return Pairs(source, target, lengths)


def pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as one tensor (N, longest) int32, and their lengths (N,) int64."""
    lengths = torch.tensor([len(row) for row in rows])
    width = int(lengths.max()) if rows else 0
    padded = torch.zeros(len(rows), width, dtype=torch.int32)
    flat = torch.tensor(list(itertools.chain.from_iterable(rows)), dtype=torch.int32)
    padded[torch.arange(width) < lengths[:, None]] = flat
    return padded, lengths


class PairLoader(ResumableLoader):
    """Yields batches (source (B, S), target (B, T), number of each pair in its split (B,)).

    Like `TensorLoader` it can be resumed in the middle of an epoch, and shards by its order.

    Args:
        pairs: The whole split.
        order: Which pairs come when.
        device: Where batches are wanted.
    """

    def __init__(self, pairs: Pairs, order: BatchOrder, device: torch.device | str = "cpu"):
        super().__init__(order)
        self.pairs, self.batch_sampler = pairs, order
        self.device = torch.device(device)

    @property
    def batch_size(self) -> int:
        """B."""
        return self.batch_sampler.batch_size

    def __len__(self) -> int:
        """Batches of this process in an epoch."""
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The epoch's batches, int64; nothing happens before the first is asked for."""
        order, pairs = self.batch_sampler, self.pairs
        first = self._first_batch()
        slices = order.indices().split(order.batch_size)[: len(order)]
        for number in range(first, len(slices)):
            index = slices[number]
            width, height = pairs.lengths[index].amax(0).tolist()
            source = pairs.source.index_select(0, index)[:, :width]
            target = pairs.target.index_select(0, index)[:, :height]
            self._position = (order.epoch, number + 1)
            yield self._moved(source), self._moved(target), self._moved(index)

    def _moved(self, part: Tensor) -> Tensor:
        return part.to(self.device, torch.long)


class PairDataModule(PlacedBatches):
    """Pairs of sentences; a set adds its name and `read`.

    The units are learned from the training split alone, for each language on its own, and kept
    under `$PACELINE_HOME/data/subwords`. Training leaves out pairs with an empty or a too long
    side and says how many; evaluation keeps all.

    Args:
        batch_size: Training pairs per step and process.
        vocab_size: Most units of each language.
        max_length: Longest sentence to train on, in units; default: any.

    Attributes:
        left_out: Why -> how many training pairs, after `setup`.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name: str | None = None

    def __init__(self, batch_size: int = 64, vocab_size: int = 6000, max_length: int | None = None):
        super().__init__()
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.vocab_size = whole_number("vocab_size", vocab_size, 6)
        self.longest = None if max_length is None else whole_number("max_length", max_length, 1)
        self.texts: dict[str, Texts] = {}
        self.left_out: dict[str, int] = {}
        self.pairs: dict[str, Pairs] = {}
        self.units: tuple[Subwords, Subwords] | None = None

    @abstractmethod
    def read(self, split: str) -> Texts:
        """Sources and targets of `train`, `val` or `test`, line by line.

        Raises:
            ValueError: They are not equally many.
        """

    # What models follow: known before anything is read.

    @property
    def source_vocab_size(self) -> int:
        """Numbers that a unit of a source may have; some may stand for nothing."""
        return self.vocab_size

    @property
    def target_vocab_size(self) -> int:
        """Numbers that a unit of a target may have; some may stand for nothing."""
        return self.vocab_size

    # What is known after `setup`.

    @property
    def num_train(self) -> int:
        """Training pairs, over all processes."""
        return len(self._ready("train"))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the training pairs as stored."""
        pairs, total = self._ready("train"), hashlib.sha256()
        for tensor in (pairs.source, pairs.target):
            total.update(f"{tuple(tensor.shape)} ".encode() + tensor.numpy().tobytes())
        return total.hexdigest()

    def vocabulary(self) -> bytes:
        """Both languages' units as JSON, for the model to keep beside its weights."""
        self._ready("train")
        assert self.units is not None
        names = ("source", "target")
        state = {name: units.state() for name, units in zip(names, self.units, strict=True)}
        return json.dumps(state, ensure_ascii=False).encode()

    def reference(self, split: str, number: int) -> tuple[str, str]:
        """Source and target of one pair as they were written."""
        sources, targets = self.texts[split]
        return sources[number], targets[number]

    def setup(self, stage: str | None = None) -> None:
        """Read the texts and learn the units, once.

        Raises:
            ValueError: A file has a line too few, or no training pair is left.
        """
        if self.pairs:
            return
        texts = {split: self.read(split) for split in SPLITS}
        train = tuple([line for line in side if line.strip()] for side in texts["train"])
        self.units = (learned(train[0], self.vocab_size), learned(train[1], self.vocab_size))
        pairs = {split: self._encoded(texts[split]) for split in SPLITS}
        pairs["train"] = self._trainable(pairs["train"])
        self.texts, self.pairs = {split: texts[split] for split in ("val", "test")}, pairs

    def _ready(self, split: str) -> Pairs:
        self.setup()
        return self.pairs[split]

    def _encoded(self, texts: Texts) -> Pairs:
        assert self.units is not None
        source, source_lengths = pad([[*self.units[0].encode(line), END] for line in texts[0]])
        rows = ([BEGIN, *self.units[1].encode(line), END] for line in texts[1])
        target, target_lengths = pad(list(rows))
        return Pairs(source, target, torch.stack((source_lengths, target_lengths), 1))

    def _trainable(self, pairs: Pairs) -> Pairs:
        """The pairs without those that are empty or too long, which are told."""
        sizes = pairs.lengths - torch.tensor([1, 2])  # without beginning and end
        empty = (sizes == 0).any(1)
        longest = int(sizes.max()) if self.longest is None else self.longest
        long = (sizes > longest).any(1) & ~empty
        self.left_out = {"empty": int(empty.sum()), "too long": int(long.sum())}
        if any(self.left_out.values()):
            told = ", ".join(f"{count} {why}" for why, count in self.left_out.items() if count)
            logger.warning("Left out of %d training pairs of %s: %s.", len(pairs), self.name, told)
        kept = pairs.kept(~(empty | long))
        if not len(kept):
            raise wrong("max_length", "so large that training pairs are left", self.longest)
        return kept

    def train_dataloader(self) -> PairLoader:
        """Shuffled batches of about equal lengths; with `overfit_batches` the same each epoch."""
        overfit = self.trainer is not None and bool(getattr(self.trainer, "overfit_batches", 0))
        pairs = self._ready("train")
        order = LengthOrder(
            pairs.lengths, self.batch_size, seed=run_seed(), **process_share(), shuffle=not overfit
        )
        return PairLoader(pairs, order, self._device())

    def val_dataloader(self) -> PairLoader:
        """The validation split in storage order."""
        return self._evaluation("val")

    def test_dataloader(self) -> PairLoader:
        """The test split in storage order."""
        return self._evaluation("test")

    def predict_dataloader(self) -> PairLoader:
        """The test split in storage order."""
        return self._evaluation("test")

    def _evaluation(self, split: str) -> PairLoader:
        pairs = self._ready(split)
        order = BatchOrder(len(pairs), EVALUATION_BATCH, seed=run_seed(), **process_share())
        return PairLoader(pairs, order, self._device())

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

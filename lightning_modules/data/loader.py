"""The batches of an in-memory split: index slices in a `BatchOrder`, normalised and augmented.

Letters: N samples, B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .augmentation import Augmentation
from .mirrored_rows import MirroredRows, mirrored_rows
from .order import BatchOrder, derive_seed
from .resumable import ResumableLoader
from .samples import Normalization, Samples


class TensorLoader(ResumableLoader):
    """Yields (inputs, targets) batches of whole tensors, in the order of a `BatchOrder`.

    Lightning takes it as it is: it is no DataLoader, so nothing is wrapped or re-created, and the
    sharding over processes is the order's. It can be resumed in the middle of an epoch: its state
    names seed, epoch and how many batches were handed out. In a loop of one's own, call
    `loader.batch_sampler.set_epoch(epoch)` before each epoch.

    Args:
        samples: The whole split.
        order: Which samples come when.
        normalization: Applied to each batch; none for inputs that are ready.
        augmentation: Random changes of each batch, a function of the order's seed, epoch, process
            and batch.
        device: Where batches are wanted.
    """

    def __init__(
        self,
        samples: Samples,
        order: BatchOrder,
        *,
        normalization: Normalization | None = None,
        augmentation: Augmentation | None = None,
        device: torch.device | str = "cpu",
    ):
        super().__init__(order)
        self.samples, self.batch_sampler = samples, order
        self.normalization, self.augmentation = normalization, augmentation
        self.device = torch.device(device)
        self._on_stored, self._on_normalised = _parts(normalization, augmentation)
        self._rows: MirroredRows | None = None

    @property
    def batch_size(self) -> int:
        """B."""
        return self.batch_sampler.batch_size

    def __len__(self) -> int:
        """Batches of this process in an epoch."""
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The epoch's batches: inputs (B, *in_shape) float32, targets (B,), after `mixup` (B, K).

        Nothing happens before the first batch is asked for: Lightning creates the iterator before
        it tells the epoch, and on a resumed run before it continues.
        """
        order = self.batch_sampler
        first = self._first_batch()
        home = self.samples.targets.device
        slices = order.indices().to(home).split(order.batch_size)[: len(order)]
        self._begin(slices[first:])
        generator = torch.Generator(self.device)
        for number in range(first, len(slices)):
            targets = self.samples.targets.index_select(0, slices[number]).to(self.device)
            if self.augmentation:
                seed = derive_seed("augmentation", order.seed, order.epoch, order.rank, number)
                generator.manual_seed(seed)
            inputs = self._gather(slices[number], generator)
            if self._on_stored:
                inputs = self._on_stored(inputs, generator)
            if self.normalization is not None:
                inputs = self.normalization(inputs)
            if self._on_normalised:
                inputs = self._on_normalised(inputs, generator)
                inputs, targets = self._on_normalised.mix(inputs, targets, generator)
            self._position = (order.epoch, number + 1)
            yield inputs, targets

    def _begin(self, slices: Sequence[Tensor]) -> None:
        """Told which batches will be asked for, before the first."""
        augmentation = self._on_stored
        if augmentation and self._rows is None and self.device.type == "cpu":
            self._rows, augmentation.steps = mirrored_rows(self.samples.inputs, augmentation.steps)

    def _gather(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The inputs of these samples as they are stored, on the device."""
        if self._rows is not None:
            return self._rows.batch(index, generator)
        return self.samples.inputs.index_select(0, index).to(self.device)


def _parts(
    normalization: Normalization | None, augmentation: Augmentation | None
) -> tuple[Augmentation | None, Augmentation | None]:
    """What is done to the stored inputs, and what to those that are ready."""
    if normalization is None or augmentation is None:
        return None, augmentation
    return augmentation.split()

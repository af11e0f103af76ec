"""Data sets that fit in memory: whole tensors, batches as index slices, no worker processes.

Storage. Bytes stay bytes (uint8) and become normalised floats one batch at a time; floats are
normalised once. Measured for 784 features, gather and normalise, microseconds a batch of 64 / 512
on two threads of a small CPU: `x[index]` on floats 38 / 271, `index_select` on floats 17 / 114, on
bytes 22 / 93; on one thread 69 / 513, 27 / 192 and 26 / 155. So bytes cost no time and a quarter
of the memory, which on a GPU decides what fits.

Place. On an accelerator the splits move into its memory when together they take at most half of
what is free there (the rest is for the model); else they stay on the host and each batch is moved,
still as bytes. Batches leave the loader on the run's device, so that no transfer hook has anything
left to do.

Letters: N samples, B batch, D features, C channels, H x W picture.
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .arguments import whole_number, wrong
from .augmentation import Augmentation, AugmentationSpec
from .loader import TensorLoader
from .order import BatchOrder
from .placed_batches import PlacedBatches
from .run_share import process_share, run_seed
from .samples import Normalization, Samples, Splits, check_finite, normalized

MIN_EVALUATION_BATCH = 1000  # no gradients are kept, so only the loop's overhead counts


class TensorDataModule(PlacedBatches):
    """What in-memory sets share; each adds its facts as class attributes and one method, `load`.

    The split never depends on the run's seed; the order of the training samples and their
    augmentation are functions of the run's seed (Lightning's `seed_everything`, 0 without one),
    epoch and batch.

    Args:
        batch_size: Training samples per step and process. Evaluation uses at least 1000.
        augmentation: Random changes of the training inputs, see `augmentation.py`: a policy's
            name, a mapping of names to strengths, a list of both, or none.
        drop_last: Leave out the training samples that do not fill a batch (others each epoch).

    Attributes:
        name: The catalog's name.
        in_shape: Shape of one input: (C, H, W) or (D,).
        class_names: What the targets 0, 1, ... mean.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name: str | None = None
    in_shape: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()

    def __init__(
        self,
        batch_size: int = 64,
        augmentation: AugmentationSpec = None,
        drop_last: bool = False,
    ):
        super().__init__()
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.augmentation = augmentation
        self.drop_last = drop_last
        self._augmentation = Augmentation(augmentation, self.in_shape, self.num_classes)
        self._splits: Splits | None = None
        self._placed: dict[torch.device, Splits] = {}

    def load(self) -> Splits:
        """Read the set; called once, after `prepare_data`."""
        raise NotImplementedError(f"{type(self).__name__} must define load().")

    # What models follow: known before anything is read.

    @property
    def num_classes(self) -> int:
        """How many values a target has."""
        return len(self.class_names)

    @property
    def in_features(self) -> int:
        """Numbers in one input, D or C x H x W."""
        return math.prod(self.in_shape)

    @property
    def in_channels(self) -> int:
        """C; 1 for inputs without channels."""
        return self.in_shape[0] if len(self.in_shape) == 3 else 1

    @property
    def image_size(self) -> int:
        """Pixels along the side of the square picture.

        Raises:
            AttributeError: The inputs are no square pictures (so `hasattr` answers no).
        """
        if len(self.in_shape) != 3 or self.in_shape[1] != self.in_shape[2]:
            raise AttributeError(f"The inputs of {type(self).__name__} are no square pictures.")
        return self.in_shape[1]

    # What is known after `setup`.

    @property
    def splits(self) -> Splits:
        """The set, read and ready: bytes, or floats that are normalised."""
        if self._splits is None:
            self.setup()
        assert self._splits is not None
        return self._splits

    @property
    def num_train(self) -> int:
        """Training samples, over all processes."""
        return len(self.splits.train)

    def inputs_of(self, pixels: Tensor) -> Tensor:
        """Pictures of one's own as the network takes them.

        Args:
            pixels: Bytes (B, C, H, W) in the shape of `in_shape`; 0 is black, 255 white.

        Returns:
            float32 of that shape, on the scale of the set and normalised as it is.
        """
        splits = self.splits
        scale, stored = Normalization(splits.mean, splits.std, self.in_shape), splits.train.inputs
        if stored.dtype == torch.uint8:
            return scale(pixels)
        white = float((stored / scale.scale + scale.mean).max())  # of the digits it is 16
        return scale(pixels * (white / 255))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the training split as stored: types, shapes, inputs and targets."""
        total = hashlib.sha256()
        self.splits.train.update_digest(total)
        return total.hexdigest()

    def setup(self, stage: str | None = None) -> None:
        """Read the set once, whatever the stage.

        Raises:
            ValueError: The batch size leaves no training batch, or a number is not finite.
        """
        if self._splits is not None:
            return
        splits = self.load()
        if self.drop_last and self.batch_size > len(splits.train):
            rule = f"at most the {len(splits.train)} training samples when `drop_last` is true"
            raise wrong("batch_size", rule, self.batch_size)
        ready = normalized(splits, self.in_shape)
        check_finite(ready)
        self._splits = ready

    def train_dataloader(self) -> TensorLoader:
        """Shuffled, augmented batches; with `overfit_batches` the same ones each epoch."""
        overfit = self.trainer is not None and bool(getattr(self.trainer, "overfit_batches", 0))
        order = self._order(
            self.splits.train,
            self.batch_size,
            shuffle=not overfit,
            drop_last=self.drop_last,
            even=True,
        )
        return self._loader("train", order, self._augmentation)

    def val_dataloader(self) -> TensorLoader | list[Any]:
        """The validation split in storage order; an empty list, no validation, without one."""
        return self._evaluation("val") if len(self.splits.val) else []

    def test_dataloader(self) -> TensorLoader:
        """The test split in storage order."""
        return self._evaluation("test")

    def predict_dataloader(self) -> TensorLoader:
        """The test split: (inputs, targets) batches as everywhere."""
        return self._evaluation("test")

    def teardown(self, stage: str | None = None) -> None:
        """Give the accelerator's memory back; the host's tensors stay for the next stage."""
        self._placed.clear()

    def _evaluation(self, split: str) -> TensorLoader:
        samples = getattr(self.splits, split)
        return self._loader(split, self._order(samples, max(self.batch_size, MIN_EVALUATION_BATCH)))

    def _order(self, samples: Samples, batch_size: int, **rules: bool) -> BatchOrder:
        return BatchOrder(
            len(samples),
            batch_size,
            seed=run_seed(),
            **process_share(),
            **rules,
        )

    def _loader(
        self, split: str, order: BatchOrder, augmentation: Augmentation | None = None
    ) -> TensorLoader:
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        splits = self._place(device)
        samples: Samples = getattr(splits, split)
        scale = Normalization(splits.mean, splits.std, self.in_shape, device)
        return self._make_loader(
            samples,
            order,
            normalization=scale if samples.inputs.dtype == torch.uint8 else None,
            augmentation=augmentation and augmentation.over(scale.background),
            device=device,
        )

    def _make_loader(self, samples: Samples, order: BatchOrder, **parts: Any) -> TensorLoader:
        return TensorLoader(samples, order, **parts)

    def _place(self, device: torch.device) -> Splits:
        """The splits where the module docstring's rule puts them."""
        if device.type == "cpu":
            return self.splits
        if device not in self._placed:
            fits = (
                device.type != "cuda"
                or 2 * self.splits.num_bytes <= torch.cuda.mem_get_info(device)[0]
            )
            self._placed[device] = self.splits.to(device) if fits else self.splits
        return self._placed[device]

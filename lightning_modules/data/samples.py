"""What an in-memory set is made of: samples, their splits, and the scale of their inputs.

Letters: N samples, C channels, H x W picture, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """Inputs (N, *in_shape), uint8 or float32, and their targets (N,)."""

    inputs: Tensor
    targets: Tensor

    def __post_init__(self):
        """Our own sets come out of `load` like this."""
        assert len(self.inputs) == len(self.targets)
        assert self.inputs.dtype in (torch.uint8, torch.float32)

    def __len__(self) -> int:
        """N."""
        return len(self.targets)

    @property
    def num_bytes(self) -> int:
        """Memory that both tensors take."""
        return self.inputs.nbytes + self.targets.nbytes

    def update_digest(self, total: Any) -> None:
        """Count types, shapes, inputs and targets into a digest of `hashlib`."""
        for tensor in (self.inputs, self.targets):
            total.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
            total.update(tensor.contiguous().numpy().tobytes())

    def to(self, device: torch.device) -> Samples:
        """The same samples in the memory of `device`."""
        return Samples(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Splits:
    """A data set in three splits, and the scale of its inputs.

    Args:
        train: What is learned from.
        val: What choices are made by; may be empty.
        test: What is reported.
        mean: Per channel, in the units of the stored inputs; one number for inputs without
            channels. Default: inputs stay as they are.
        std: Likewise.
    """

    train: Samples
    val: Samples
    test: Samples
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def num_bytes(self) -> int:
        """Memory of all splits together."""
        return self.train.num_bytes + self.val.num_bytes + self.test.num_bytes

    def to(self, device: torch.device) -> Splits:
        """All splits in the memory of `device`."""
        train, val, test = (samples.to(device) for samples in (self.train, self.val, self.test))
        return Splits(train, val, test, self.mean, self.std)


class Normalization:
    """(x - mean) / std per channel, from bytes or floats to float32.

    Args:
        mean: One number per channel, or one for all.
        std: Likewise, greater than 0.
        in_shape: Shape of one input: (C, H, W) has channels, (D,) has none.
        device: Where the batches are.
    """

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        in_shape: tuple[int, ...],
        device: torch.device | str = "cpu",
    ):
        shape = (-1, 1, 1) if len(in_shape) == 3 else (-1,)
        self.mean = torch.tensor(mean, device=device).reshape(shape)  # (C, 1, 1) or (1,)
        self.scale = (
            torch.tensor(std, device=device).reshape(shape).reciprocal()
        )  # (C, 1, 1) or (1,)
        self.background = -self.mean * self.scale  # what a stored 0 becomes, same shape

    def __call__(self, inputs: Tensor) -> Tensor:
        """A new float tensor of the same shape."""
        # Twice as fast as subtracting floats from bytes, which converts one number at a time.
        return inputs.to(torch.float32, copy=True).sub_(self.mean).mul_(self.scale)


def normalized(splits: Splits, in_shape: tuple[int, ...]) -> Splits:
    """The splits with floats normalised here and now, and bytes as they are."""
    if splits.train.inputs.dtype == torch.uint8:
        return splits
    scale = Normalization(splits.mean, splits.std, in_shape)
    train, val, test = (
        Samples(scale(samples.inputs), samples.targets)
        for samples in (splits.train, splits.val, splits.test)
    )
    return Splits(train, val, test, splits.mean, splits.std)


def check_finite(splits: Splits) -> None:
    """Look at what is about to be learned from: one NaN would make every weight NaN.

    Raises:
        ValueError: An input or a target is NaN or infinite, as it is stored or once normalised.
    """
    for split in ("train", "val", "test"):
        samples: Samples = getattr(splits, split)
        for part, numbers in (("inputs", samples.inputs), ("targets", samples.targets)):
            if not numbers.is_floating_point() or numbers.isfinite().all():
                continue
            bad = int((~numbers.isfinite()).reshape(len(samples), -1).any(1).sum())
            raise ValueError(
                f"`{part}` must be finite, but those of {bad} of the {len(samples)} samples of "
                f"`{split}` are not."
            )

"""What turns normalised inputs back into pixels from 0 to 1, for models that say pictures.

Data modules hand out (pixel - mean) / std, which suits a classifier. A model that must say its
input again is asked for pixels, which lie in a known range and can be read as probabilities.
B batch, C channels, D numbers of an example.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .blocks.checks import require

ROUNDING = 0.01  # published means and deviations have three or four digits


class PixelRange(nn.Module):
    """Undoes a data module's normalisation: x std + mean.

    It moves with the model and adds nothing to its checkpoints.

    Args:
        pixel_mean: What the data subtracted from the pixels, one number or one a channel; None: 0.
        pixel_std: What it divided them by, > 0; None: 1.
        in_shape: Shape of one example, (C, H, W) or (D,).

    Raises:
        ValueError: If a deviation is not above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        pixel_mean: float | Sequence[float] | None,
        pixel_std: float | Sequence[float] | None,
        in_shape: Sequence[int],
    ):
        super().__init__()
        self.register_buffer("mean", _per_channel(pixel_mean, 0.0, in_shape), persistent=False)
        self.register_buffer("std", _per_channel(pixel_std, 1.0, in_shape), persistent=False)
        require(bool((self.std > 0).all()), "pixel_std", "above 0", pixel_std)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised inputs (B, ...) as pixels from 0 to 1, (B, D)."""
        return (x * self.std + self.mean).clamp(0, 1).flatten(1)  # (B, D)

    def check(self, x: Tensor) -> None:
        """Look at a batch before it is learned from; on a GPU this waits for it.

        Raises:
            ValueError: If undoing the normalisation leaves more than rounding outside 0 to 1.
        """
        low, high = (x * self.std + self.mean).aminmax()
        if not (low > -ROUNDING and high < 1 + ROUNDING):
            raise ValueError(
                "`pixel_mean` and `pixel_std` must be those of the data, so that pixels are from 0 "
                f"to 1, but they are from {low.item():.3g} to {high.item():.3g}."
            )


def _per_channel(
    value: float | Sequence[float] | None, default: float, shape: Sequence[int]
) -> Tensor:
    """The value, or one a channel, as a tensor that goes with examples of a shape."""
    numbers = torch.tensor(default if value is None else value, dtype=torch.float32)
    return numbers if numbers.ndim == 0 else numbers.view(-1, *[1] * (len(shape) - 1))

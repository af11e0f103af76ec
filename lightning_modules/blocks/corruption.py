"""How a denoising autoencoder's input is spoiled.

Vincent, Larochelle, Bengio and Manzagol 2008, "Extracting and Composing Robust Features with
Denoising Autoencoders", section 2.3: a share of the numbers, drawn anew for each example and each
time, is set to 0 (masking). Additive Gaussian noise is that of their paper of 2010, section 3.3.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .checks import require, require_one_of

Corruption = Literal["none", "masking", "gaussian"]
CORRUPTIONS = ("none", "masking", "gaussian")


def corrupt(
    pixels: Tensor, kind: Corruption, level: float, generator: torch.Generator | None = None
) -> Tensor:
    """Spoil a batch.

    Args:
        pixels: Any shape; not changed.
        kind: `masking`, `gaussian`, or `none`: the batch as it is.
        level: The share of the numbers that masking sets to 0, or the noise's deviation. Noise may
            carry a pixel below 0 or above 1.
        generator: Where it is drawn from; default: torch's own.

    Returns:
        A tensor of the same shape.
    """
    if kind == "masking":
        drawn = torch.empty_like(pixels).uniform_(generator=generator)
        return pixels * (drawn >= level)
    if kind == "gaussian":
        return pixels + level * torch.empty_like(pixels).normal_(generator=generator)
    return pixels


def check_corruption(kind: str, level: float) -> None:
    """Raise ValueError unless the level is in the range of its kind, and 0 without one."""
    require_one_of("corruption", kind, CORRUPTIONS)
    if kind == "none":
        remedy = "set `corruption` to masking or gaussian"
        require(level == 0, "corruption_level", "0 without a corruption", level, remedy)
    elif kind == "masking":
        require(0 < level < 1, "corruption_level", "in (0, 1) with masking", level)
    else:
        rule = "a positive number with gaussian"
        require(0 < level < float("inf"), "corruption_level", rule, level)

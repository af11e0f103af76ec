"""Codes whose pictures show what a decoder has learned, in the order in which they are shown.

Z code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..blocks.gaussian import standard_normal_quantiles


def between(starts: Tensor, ends: Tensor, num_steps: int) -> Tensor:
    """Straight lines from some codes (R, Z) to others (R, Z), both ends included.

    Returns:
        (R, num_steps, Z).
    """
    share = torch.linspace(0, 1, num_steps, device=starts.device).view(1, -1, 1)
    return starts[:, None] + share * (ends - starts)[:, None]


def along_single_numbers(code: Tensor, numbers: Sequence[int], num_steps: int) -> Tensor:
    """A code (Z,) with one of its numbers replaced by -2.5 to 2.5, a row for each such number.

    Args:
        code: Where the walks start.
        numbers: Which numbers are walked along, R of them, counted from 0.
        num_steps: Steps of each walk.

    Returns:
        (R, num_steps, Z).
    """
    walks = code.repeat(len(numbers), num_steps, 1)
    for row, number in enumerate(numbers):
        walks[row, :, number] = torch.linspace(-2.5, 2.5, num_steps, device=code.device)
    return walks


def manifold(side: int) -> Tensor:
    """Codes (side^2, 2) on a grid of the unit Gaussian's quantiles, row by row from the top left.

    The first number grows to the right, the second upwards (Kingma and Welling 2014, figure 4).
    """
    ticks = standard_normal_quantiles(side)
    upwards, rightwards = torch.meshgrid(ticks.flip(0), ticks, indexing="ij")
    return torch.stack((rightwards, upwards), dim=-1).flatten(0, 1)  # (side^2, 2)

"""What the augmentation policies do: each changes a whole batch, with its own draw for each sample.

Their names, strengths and limits stand in `augmentation.py`. Those that move or cover whole pixels
do the same to stored bytes as to normalised floats, so they are applied to the bytes, which are a
quarter as long.

Letters: B batch, C channels, H x W picture, D steps of a signal, K classes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

HOST = "cpu"  # where NumPy reaches the same memory, and torch pads bytes
LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue look (ITU-R BT.601)


def shift(x: Tensor, pixels: float, rng: Generator, background: Tensor) -> Tensor:
    """Move each sample by whole pixels, up to `pixels` along each axis."""
    reach = int(pixels)
    if x.ndim == 2:
        return _turned(x, _whole_numbers(x, 2 * reach + 1, rng) - reach)
    batch, channels, height, width = x.shape
    padded = background.to(x.dtype).expand(
        batch, channels, height + 2 * reach, width + 2 * reach
    )  # (B, C, H + 2r, W + 2r)
    padded = padded.contiguous()
    padded[:, :, reach : reach + height, reach : reach + width] = x
    return _random_windows(padded, reach, rng)


def crop(x: Tensor, pixels: float, rng: Generator, background: Tensor) -> Tensor:
    """Mirror each picture outwards by `pixels` and cut its size out of that at random."""
    return _random_windows(_mirrored(x, int(pixels)), int(pixels), rng)


def flip(x: Tensor, probability: float, rng: Generator, background: Tensor) -> Tensor:
    """Mirror each picture left to right with this probability."""
    mirrored = _uniform(x, rng) < probability  # (B,)
    # To choose among both is several times as fast as `where` with a mask to be spread.
    both = torch.cat((x, x.flip(-1)))  # (2B, C, H, W)
    return both.index_select(0, torch.arange(len(x), device=x.device) + len(x) * mirrored)


def rotation(x: Tensor, degrees: float, rng: Generator, background: Tensor) -> Tensor:
    """Turn each picture about its centre by up to `degrees` either way."""
    batch, _, height, width = x.shape
    angle = (2 * _uniform(x, rng) - 1).mul_(math.radians(degrees)).view(batch, 1, 1)  # (B, 1, 1)
    cos, sin = angle.cos(), angle.sin()
    # Where each pixel comes from, in pixels from the centre. Four times as fast as affine_grid.
    down = _from_centre(height, x).view(height, 1)  # (H, 1)
    right = _from_centre(width, x)  # (W,)
    source_right = (cos * right - sin * down) * (2 / width)  # (B, H, W), edges at -1 and 1
    source_down = (sin * right + cos * down) * (2 / height)
    grid = torch.stack((source_right, source_down), dim=-1)  # (B, H, W, 2)
    # Outside is zero for grid_sample, so the background is made zero for a moment.
    return F.grid_sample(x - background, grid, align_corners=False).add_(background)


def noise(x: Tensor, std: float, rng: Generator, background: Tensor) -> Tensor:
    """Add independent Gaussian noise."""
    return torch.randn(x.shape, generator=rng, device=x.device).mul_(std).add_(x)


def scale(x: Tensor, share: float, rng: Generator, background: Tensor) -> Tensor:
    """Multiply each sample by one number between 1 - share and 1 + share."""
    return x * _per_sample(x, _factors(x, share, rng))


def colour(x: Tensor, share: float, rng: Generator, background: Tensor) -> Tensor:
    """Change brightness, contrast and, of three channels, saturation, by up to this share each.

    With a factor f for each, between 1 - share and 1 + share: the light times f; the distance to
    the picture's mean light times f; the distance to each pixel's own grey times f. Light is what
    lies above black. Bytes stay within 0 to 255, but need not be whole numbers afterwards.
    """
    is_stored = x.dtype == torch.uint8
    light = x - background  # (B, C, H, W)
    light = light * _per_sample(x, _factors(x, share, rng))
    mean = _grey(light).mean(dim=(2, 3), keepdim=True)  # (B, 1, 1, 1)
    light = torch.lerp(mean, light, _per_sample(x, _factors(x, share, rng)))
    if x.shape[1] == 3:
        light = torch.lerp(_grey(light), light, _per_sample(x, _factors(x, share, rng)))
    return light.clamp_(0, 255) if is_stored else light.add_(background)


def cutout(x: Tensor, side: float, rng: Generator, background: Tensor) -> Tensor:
    """Cover a square of `side` pixels, whose centre may be any pixel, with black.

    DeVries and Taylor (2017), "Improved Regularization of Convolutional Neural Networks with
    Cutout", section 3.2; they cover with the mean of the training set, which for pictures whose
    background is black would be a grey square.
    """
    rows = _covered(x, x.shape[2], int(side), rng).view(len(x), 1, -1, 1)  # (B, 1, H, 1)
    columns = _covered(x, x.shape[3], int(side), rng).view(len(x), 1, 1, -1)  # (B, 1, 1, W)
    return torch.where(rows & columns, background.to(x.dtype), x)


def mixup(x: Tensor, target: Tensor, alpha: float, rng: Generator) -> tuple[Tensor, Tensor]:
    """Blend each sample and its target with those of another one of the batch.

    Zhang, Cisse, Dauphin and Lopez-Paz (2018), "mixup: Beyond Empirical Risk Minimization",
    equation 1; with a share of its own for each pair, drawn from Beta(alpha, alpha).

    Args:
        x: Inputs, (B, ...).
        target: Class probabilities, (B, K).
        alpha: 0: nothing is blended; the larger, the closer are most shares to a half.
        rng: Source of the draws.

    Returns:
        Both, blended.
    """
    if alpha == 0:
        return x, target
    partner = torch.randperm(len(x), generator=rng, device=x.device)  # (B,)
    share = _beta(x, alpha, rng).float()  # (B,)
    x = torch.lerp(x[partner], x, _per_sample(x, share))
    return x, torch.lerp(target[partner], target, share[:, None])


def _uniform(x: Tensor, rng: Generator) -> Tensor:
    return torch.rand(len(x), generator=rng, device=x.device)


def _factors(x: Tensor, share: float, rng: Generator) -> Tensor:
    return 1 + share * (2 * _uniform(x, rng) - 1)  # (B,)


def _beta(x: Tensor, alpha: float, rng: Generator) -> Tensor:
    """A number from Beta(alpha, alpha) for each sample, (B,) float64.

    G1 / (G1 + G2) of two Gamma(alpha) numbers. A small alpha makes both too small for a float, so
    their logarithms are drawn: Gamma(alpha) is Gamma(alpha + 1) times U^(1 / alpha).
    """
    shape = torch.full((2, len(x)), alpha + 1, dtype=torch.float64, device=x.device)
    uniform = torch.rand(shape.shape, generator=rng, dtype=torch.float64, device=x.device)
    gamma = torch._standard_gamma(shape, generator=rng)  # pyright: ignore[reportPrivateImportUsage] (torch's only one that takes a generator)
    logs = gamma.log() + uniform.log() / alpha
    return torch.sigmoid(logs[0] - logs[1])


def _per_sample(x: Tensor, values: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (x.ndim - 1))  # (B, 1, ...)


def _from_centre(count: int, x: Tensor) -> Tensor:
    return torch.arange(count, device=x.device) - (count - 1) / 2


def _whole_numbers(x: Tensor, stop: int, rng: Generator) -> Tensor:
    return torch.randint(stop, (len(x),), generator=rng, device=x.device)


def _grey(light: Tensor) -> Tensor:
    """How bright each pixel looks, (B, 1, H, W)."""
    if light.shape[1] != 3:
        return light.mean(dim=1, keepdim=True)
    red, green, blue = light.split(1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def _covered(x: Tensor, count: int, side: int, rng: Generator) -> Tensor:
    """Which of `count` rows lie in a stretch of `side` about a row drawn for each sample."""
    first = _whole_numbers(x, count, rng)[:, None] - side // 2  # (B, 1)
    row = torch.arange(count, device=x.device)
    return (row >= first) & (row < first + side)  # (B, count)


def _turned(x: Tensor, steps: Tensor) -> Tensor:
    """Roll each row of (B, D) to the right by its own number of steps (B,)."""
    columns = torch.arange(x.shape[1], device=x.device) - steps[:, None]  # (B, D)
    return x.gather(1, columns % x.shape[1])


def _mirrored(x: Tensor, reach: int) -> Tensor:
    """The pictures, continued at their edges by `reach` mirrored pixels."""
    if x.device.type == HOST:
        return F.pad(x, (reach,) * 4, mode="reflect")
    rows, columns = (
        count - 1 - (count - 1 - torch.arange(-reach, count + reach, device=x.device).abs()).abs()
        for count in x.shape[2:]
    )
    return x[:, :, rows[:, None], columns]  # elsewhere torch mirrors floats only


def _random_windows(padded: Tensor, reach: int, rng: Generator) -> Tensor:
    """Cut (B, C, H, W) out of pictures padded by `reach`, each sample at its own place."""
    height, width = padded.shape[2] - 2 * reach, padded.shape[3] - 2 * reach
    top = _whole_numbers(padded, 2 * reach + 1, rng)
    left = _whole_numbers(padded, 2 * reach + 1, rng)
    if padded.device.type == HOST:  # NumPy copies whole rows, torch one number at a time
        view = np.lib.stride_tricks.sliding_window_view(padded.numpy(), (height, width), (2, 3))
        return torch.from_numpy(view[np.arange(len(padded)), :, top.numpy(), left.numpy()])
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2r + 1, 2r + 1, H, W)
    return windows[torch.arange(len(padded), device=padded.device), :, top, left]

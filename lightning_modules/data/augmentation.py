"""Random changes of the training inputs that keep their class: named policies, one strength each.

In a config: `augmentation: shift`, `{shift: 2, rotation: 10}` or `[flip, {noise: 0.1}]`; policies
act in the order written. Each changes a whole batch at once, on its device, with its own draw for
every sample; all draws come from one generator, so that the same seed gives the same batches.
Inputs are normalised already: strengths of `noise` and `scale` are in standard deviations of the
training set, and what moves in from outside is the stored zero.

| name | strength (default) | pictures (C, H, W) | signals (D,) |
|---|---|---|---|
| `shift` | pixels, whole (2) | moved by up to that many, each axis | turned round likewise |
| `crop` | pixels, whole (4) | mirrored at the edges by that many pixels, then cut at random | - |
| `flip` | probability (0.5) | mirrored left to right | - |
| `rotation` | degrees (10) | turned about the centre by up to that angle, bilinear | - |
| `noise` | std (0.1) | Gaussian noise added to each number | the same |
| `scale` | share (0.1) | multiplied by 1 - share to 1 + share | the same |

`crop` is the padding of He et al. (2016), section 4.2, with mirrored edges instead of black ones
(`shift` is black). Signals are turned round because the generator of MNIST-1D translates them that
way.

Letters: B batch, C channels, H x W picture, D steps of a signal.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .arguments import wrong

AugmentationSpec = dict[str, float] | list[str | dict[str, float]] | str | None


def shift(x: Tensor, pixels: float, rng: Generator, background: Tensor) -> Tensor:
    """Move each sample by whole pixels, up to `pixels` along each axis; see the module's table."""
    reach = int(pixels)
    if x.ndim == 2:
        return _turned(x, _whole_numbers(x, 2 * reach + 1, rng) - reach)
    batch, channels, height, width = x.shape
    padded = background.expand(batch, channels, height + 2 * reach, width + 2 * reach).contiguous()
    padded[:, :, reach : reach + height, reach : reach + width] = x  # (B, C, H + 2r, W + 2r)
    return _random_windows(padded, reach, rng)


def crop(x: Tensor, pixels: float, rng: Generator, background: Tensor) -> Tensor:
    """Mirror each picture outwards by `pixels` and cut its size out of that at random."""
    reach = int(pixels)
    return _random_windows(F.pad(x, (reach,) * 4, mode="reflect"), reach, rng)


def flip(x: Tensor, probability: float, rng: Generator, background: Tensor) -> Tensor:
    """Mirror each picture left to right with this probability."""
    mirrored = _uniform(x, rng) < probability  # (B,)
    return torch.where(mirrored[:, None, None, None], x.flip(-1), x)


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
    factor = 1 + share * (2 * _uniform(x, rng) - 1)  # (B,)
    return x * factor.view(-1, *(1,) * (x.ndim - 1))


def _uniform(x: Tensor, rng: Generator) -> Tensor:
    return torch.rand(len(x), generator=rng, device=x.device)


def _from_centre(count: int, x: Tensor) -> Tensor:
    return torch.arange(count, device=x.device) - (count - 1) / 2


def _whole_numbers(x: Tensor, stop: int, rng: Generator) -> Tensor:
    return torch.randint(stop, (len(x),), generator=rng, device=x.device)


def _turned(x: Tensor, steps: Tensor) -> Tensor:
    """Roll each row of (B, D) to the right by its own number of steps (B,)."""
    columns = torch.arange(x.shape[1], device=x.device) - steps[:, None]  # (B, D)
    return x.gather(1, columns % x.shape[1])


def _random_windows(padded: Tensor, reach: int, rng: Generator) -> Tensor:
    """Cut (B, C, H, W) out of pictures padded by `reach`, each sample at its own place."""
    height, width = padded.shape[2] - 2 * reach, padded.shape[3] - 2 * reach
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # view: (B, C, 2r + 1, 2r + 1, H, W)
    top = _whole_numbers(padded, 2 * reach + 1, rng)
    left = _whole_numbers(padded, 2 * reach + 1, rng)
    return windows[torch.arange(len(padded), device=padded.device), :, top, left]


class Policy(NamedTuple):
    """One row of the table: the change, its usual strength, its limits, what it applies to."""

    change: Callable[[Tensor, float, Generator, Tensor], Tensor]
    default: float
    high: float
    whole: bool = False
    signals: bool = False


POLICIES = {
    "shift": Policy(shift, 2, math.inf, whole=True, signals=True),
    "crop": Policy(crop, 4, math.inf, whole=True),
    "flip": Policy(flip, 0.5, 1),
    "rotation": Policy(rotation, 10, 180),
    "noise": Policy(noise, 0.1, math.inf, signals=True),
    "scale": Policy(scale, 0.1, 1, signals=True),
}


class Augmentation:
    """The policies of one config, ready to be applied.

    Args:
        spec: See the module docstring; `none` or None changes nothing.
        in_shape: Shape of one input, (C, H, W) or (D,).

    Raises:
        ValueError: An unknown policy, a strength outside its limits, or a policy that the inputs
            do not allow.
    """

    def __init__(self, spec: AugmentationSpec, in_shape: tuple[int, ...]):
        self.steps = parse(spec, in_shape)
        self.background = torch.zeros(())

    def over(self, background: Tensor) -> Augmentation:
        """The same policies, with `background` (C, 1, 1) as what moves in from outside."""
        bound = copy.copy(self)
        bound.background = background
        return bound

    def __bool__(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.steps)

    def __call__(self, inputs: Tensor, rng: Generator) -> Tensor:
        """Changed inputs, (B, *in_shape) as given, on the same device."""
        for name, strength in self.steps:
            inputs = POLICIES[name].change(inputs, strength, rng, self.background)
        return inputs


def parse(spec: AugmentationSpec, in_shape: tuple[int, ...]) -> list[tuple[str, float]]:
    """The (policy, strength) pairs that a config's value means, checked against the inputs' shape.

    Raises:
        ValueError: See `Augmentation`.
    """
    if spec is None or spec == "none":
        return []
    if isinstance(spec, str):
        return [(spec, _strength(spec, None, in_shape))]
    if isinstance(spec, dict):
        return [(name, _strength(name, value, in_shape)) for name, value in spec.items()]
    if isinstance(spec, list):
        return [step for entry in spec for step in parse(entry, in_shape)]
    raise wrong("augmentation", "a policy's name, a mapping of names to strengths, or a list", spec)


def _strength(name: str, value: float | None, in_shape: tuple[int, ...]) -> float:
    """The strength given or usual for a policy.

    Raises:
        ValueError: See `Augmentation`.
    """
    if name not in POLICIES:
        valid = f"valid names are: none, {', '.join(POLICIES)}"
        raise wrong("augmentation", "made of known policies", name, valid)
    policy, pictures = POLICIES[name], len(in_shape) == 3
    if not pictures and not policy.signals:
        valid = ", ".join(key for key, other in POLICIES.items() if other.signals)
        rule = f"a policy for signals (the inputs have the shape {in_shape})"
        raise wrong("augmentation", rule, name, f"valid names are: none, {valid}")
    if value is None:
        return policy.default
    kind = "a whole number" if policy.whole else "a number"
    high = min(in_shape[-2:]) - 1 if policy.whole else policy.high
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    # A config's parser may hand over 2 as 2.0.
    if not fits or not 0 <= value <= high or (policy.whole and value != int(value)):
        limit = f"from 0 to {high}" if math.isfinite(high) else "of at least 0"
        raise wrong(f"augmentation.{name}", f"{kind} {limit}", value)
    return value

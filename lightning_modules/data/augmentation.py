"""Random changes of the training inputs: named policies, one strength each.

In a config: `augmentation: shift`, `{shift: 2, rotation: 10}` or `[flip, {noise: 0.1}]`; policies
act in the order written, `mixup` after all others. Each changes a whole batch at once, on its
device, with its own draw for every sample; all draws come from one generator, so that the same
seed gives the same batches. Strengths of `noise` and `scale` are in standard deviations of the
training set, and what moves in from outside is the stored zero, black.

| name | strength (default) | pictures (C, H, W) | signals (D,) |
|---|---|---|---|
| `shift` | pixels, whole (2) | moved by up to that many, each axis | turned round likewise |
| `crop` | pixels, whole (4) | mirrored at the edges by that many pixels, then cut at random | - |
| `flip` | probability (0.5) | mirrored left to right | - |
| `rotation` | degrees (10) | turned about the centre by up to that angle, bilinear | - |
| `noise` | std (0.1) | Gaussian noise added to each number | the same |
| `scale` | share (0.1) | multiplied by 1 - share to 1 + share | the same |
| `colour` | share (0.4) | brightness, contrast, saturation, each by 1 - share to 1 + share | - |
| `cutout` | pixels, whole (8) | a square of that side set to black | - |
| `mixup` | alpha (0.2) | blended with another picture, and so are the classes | the same |

`crop` is the padding of He et al. (2016), section 4.2, with mirrored edges instead of black ones
(`shift` is black). Signals are turned round because the generator of MNIST-1D translates them that
way. After `mixup` the targets of a batch are class probabilities (B, K) instead of classes (B,);
the other policies keep the class. Sources stand with each policy in `policies.py`.

Letters: B batch, C channels, H x W picture, D steps of a signal, K classes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from . import policies
from .arguments import wrong

AugmentationSpec = dict[str, float] | list[str | dict[str, float]] | str | None


class Policy(NamedTuple):
    """One row of the table: the change, its usual strength, its limits, what it applies to.

    Args:
        change: Called with inputs, strength, generator and background.
        default: The usual strength; less where the pictures are too small for it.
        high: The largest strength; for whole pixels the picture's side less one.
        whole: The strength is a number of pixels.
        signals: Applies to signals (D,) too.
        stored: Gives the same on stored bytes, before they are normalised, as after it, or means
            stored values in the first place.
    """

    change: Callable[[Tensor, float, Generator, Tensor], Tensor]
    default: float
    high: float
    whole: bool = False
    signals: bool = False
    stored: bool = False


POLICIES = {
    "shift": Policy(policies.shift, 2, math.inf, whole=True, signals=True, stored=True),
    "crop": Policy(policies.crop, 4, math.inf, whole=True, stored=True),
    "flip": Policy(policies.flip, 0.5, 1, stored=True),
    "rotation": Policy(policies.rotation, 10, 180),
    "noise": Policy(policies.noise, 0.1, math.inf, signals=True),
    "scale": Policy(policies.scale, 0.1, 1, signals=True),
    "colour": Policy(policies.colour, 0.4, 1, stored=True),
    "cutout": Policy(policies.cutout, 8, math.inf, whole=True, stored=True),
}
MIXUP = "mixup"  # apart from the others, because it changes the targets
_MIXUP_LIMITS = Policy(lambda x, *_: x, 0.2, math.inf, signals=True)
NAMES = ("none", *POLICIES, MIXUP)


class Augmentation:
    """The policies of one config, ready to be applied.

    Args:
        spec: See the module docstring; `none` or None changes nothing.
        in_shape: Shape of one input, (C, H, W) or (D,).
        num_classes: K, which `mixup` needs; 0: the targets are no classes.

    Raises:
        ValueError: An unknown policy, a strength outside its limits, or a policy that the inputs
            or the targets do not allow.
    """

    def __init__(self, spec: AugmentationSpec, in_shape: tuple[int, ...], num_classes: int = 0):
        steps = parse(spec, in_shape)
        self.steps = [step for step in steps if step[0] != MIXUP]
        self.alphas = [strength for name, strength in steps if name == MIXUP and strength]
        self.num_classes = num_classes
        if self.alphas and not num_classes:
            raise wrong("augmentation", "without mixup where the targets are no classes", spec)
        self.background = torch.zeros(())

    def over(self, background: Tensor) -> Augmentation:
        """The same policies, with `background` (C, 1, 1) as what moves in from outside."""
        bound = copy.copy(self)
        bound.background = background
        return bound

    def split(self) -> tuple[Augmentation, Augmentation]:
        """The first policies, as far as they may act on stored bytes, and the rest.

        Called on both with the normalisation between them, it changes the same; faster, because
        bytes are shorter.
        """
        count = 0
        while count < len(self.steps) and POLICIES[self.steps[count][0]].stored:
            count += 1
        stored, rest = self.over(torch.zeros((), device=self.background.device)), copy.copy(self)
        stored.alphas = []
        stored.steps, rest.steps = self.steps[:count], self.steps[count:]
        return stored, rest

    def __bool__(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.steps or self.alphas)

    def __call__(self, inputs: Tensor, rng: Generator) -> Tensor:
        """Changed inputs, (B, *in_shape) as given, on the same device; all but `mixup`."""
        for name, strength in self.steps:
            inputs = POLICIES[name].change(inputs, strength, rng, self.background)
        return inputs

    def mix(self, inputs: Tensor, targets: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
        """Inputs and targets after `mixup`, when it is one of the policies."""
        if self.alphas:
            targets = F.one_hot(targets, self.num_classes).to(inputs.dtype)  # (B, K)
        for alpha in self.alphas:
            inputs, targets = policies.mixup(inputs, targets, alpha, rng)
        return inputs, targets


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
    if name not in NAMES[1:]:
        valid = f"valid names are: {', '.join(NAMES)}"
        raise wrong("augmentation", "made of known policies", name, valid)
    policy = POLICIES.get(name) or _MIXUP_LIMITS
    if len(in_shape) != 3 and not policy.signals:
        valid = ", ".join(key for key, other in POLICIES.items() if other.signals)
        rule = f"a policy for signals (the inputs have the shape {in_shape})"
        raise wrong("augmentation", rule, name, f"valid names are: none, {valid}, {MIXUP}")
    kind = "a whole number" if policy.whole else "a number"
    high = min(in_shape[-2:]) - 1 if policy.whole else policy.high
    if value is None:
        return min(policy.default, high)
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    # A config's parser may hand over 2 as 2.0.
    if not fits or not 0 <= value <= high or (policy.whole and value != int(value)):
        limit = f"from 0 to {high}" if math.isfinite(high) else "of at least 0"
        raise wrong(f"augmentation.{name}", f"{kind} {limit}", value)
    return value

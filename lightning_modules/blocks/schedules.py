"""Learning rates over a run, as a factor of the optimizer's `lr`.

Each schedule moves once per optimizer step and depends only on the share of the run that is done,
t = step / total_steps in [0, 1]. `lr` is always the largest rate, so that the knob `learning_rate`
means the same under all of them. `total_steps` is filled in by the platform.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .checks import require, require_one_of


def cosine(t: float, start: float, end: float) -> float:
    """Half a cosine wave from `start` at t = 0 to `end` at t = 1 (Loshchilov and Hutter 2017)."""
    return end + (start - end) * (1 + math.cos(math.pi * t)) / 2


class Schedule(LRScheduler):
    """Sets each group's rate to its first `lr` times `factor(t)`.

    Only the position goes into a checkpoint. What the config says (rates, shape, number of steps)
    is taken from the config again, so that a longer or a changed run does what was asked for.

    Args:
        optimizer: Whose rates are set.
        total_steps: Optimizer steps of the whole run; afterwards the rate stays where it is.

    Raises:
        ValueError: If `total_steps` is missing, not finite or below 1.
    """

    interval = "step"

    def __init__(self, optimizer: Optimizer, total_steps: int | None = None):
        remedy = "set `trainer.max_epochs` or `trainer.max_steps`: the platform counts the steps"
        known = total_steps is not None and 1 <= total_steps < float("inf")
        require(known, "total_steps", "a whole number of at least 1", total_steps, remedy)
        self.total_steps = total_steps or 0
        super().__init__(optimizer)

    def factor(self, t: float) -> float:
        """Rate at share `t` of the run, relative to `lr`."""
        raise NotImplementedError

    def get_lr(self) -> list[float | Tensor]:
        """Rates of all groups at the present step."""
        factor = self.factor(min(1.0, self.last_epoch / self.total_steps))
        return [lr * factor for lr in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """The position, and the rates that it led to."""
        return {name: self.__dict__[name] for name in ("last_epoch", "_step_count", "_last_lr")}


class StepDecay(Schedule):
    """Multiplies the rate by `gamma` at given points of the run.

    Args:
        optimizer: Whose rates are set.
        drop_at: Where in the run it drops, each in (0, 1). Default: 0.5 and 0.75, as in ResNet's
            CIFAR-10 runs (He et al. 2016, section 4.2).
        gamma: Factor of each drop, in (0, 1].
        total_steps: Optimizer steps of the whole run; the platform fills it in.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        drop_at: list[float] | None = None,
        gamma: float = 0.1,
        total_steps: int | None = None,
    ):
        self.drop_at = [0.5, 0.75] if drop_at is None else list(drop_at)
        require(all(0 < t < 1 for t in self.drop_at), "drop_at", "shares in (0, 1)", drop_at)
        require(0 < gamma <= 1, "gamma", "in (0, 1]", gamma)
        self.gamma = gamma
        super().__init__(optimizer, total_steps)

    def factor(self, t: float) -> float:
        """`gamma` to the number of drops behind us."""
        return self.gamma ** sum(t >= drop for drop in self.drop_at)


class CosineDecay(Schedule):
    """Half a cosine wave from `lr` down to `final` times `lr`.

    Args:
        optimizer: Whose rates are set.
        final: What is left at the end, relative to `lr`, in [0, 1].
        total_steps: Optimizer steps of the whole run; the platform fills it in.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(self, optimizer: Optimizer, final: float = 0.0, total_steps: int | None = None):
        require(0 <= final <= 1, "final", "in [0, 1]", final)
        self.final = final
        super().__init__(optimizer, total_steps)

    def factor(self, t: float) -> float:
        """The wave at `t`."""
        return cosine(t, 1.0, self.final)


class OneCycle(Schedule):
    """Up to `lr` and down to almost nothing, both along half a cosine wave (Smith and Topin 2018).

    The paper moves the momentum the other way round; that is left out: it matters little with Adam.

    Args:
        optimizer: Whose rates are set; its `lr` is the peak.
        peak_at: Share of the run that leads up to the peak, in (0, 1).
        start: Rate at the start, relative to `lr`, in (0, 1].
        final: Rate at the end, relative to `lr`, in [0, 1].
        total_steps: Optimizer steps of the whole run; the platform fills it in.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        peak_at: float = 0.3,
        start: float = 0.04,
        final: float = 4e-6,
        total_steps: int | None = None,
    ):
        require(0 < peak_at < 1, "peak_at", "in (0, 1)", peak_at)
        require(0 < start <= 1, "start", "in (0, 1]", start)
        require(0 <= final <= 1, "final", "in [0, 1]", final)
        self.peak_at, self.start, self.final = peak_at, start, final
        super().__init__(optimizer, total_steps)

    def factor(self, t: float) -> float:
        """Up before the peak, down after it."""
        if t < self.peak_at:
            return cosine(t / self.peak_at, self.start, 1.0)
        return cosine((t - self.peak_at) / (1 - self.peak_at), 1.0, self.final)


class WarmUp(Schedule):
    """A straight line up to `lr`, then constant or a cosine wave (Goyal et al. 2017, section 2.2).

    Args:
        optimizer: Whose rates are set.
        share: Share of the run that warms up, in (0, 1).
        then: What follows: `constant` or `cosine`.
        start: Rate at the start, relative to `lr`, in (0, 1].
        final: Where the cosine wave ends, relative to `lr`, in [0, 1].
        total_steps: Optimizer steps of the whole run; the platform fills it in.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        share: float = 0.05,
        then: Literal["constant", "cosine"] = "cosine",
        start: float = 0.01,
        final: float = 0.0,
        total_steps: int | None = None,
    ):
        require(0 < share < 1, "share", "in (0, 1)", share)
        require_one_of("then", then, ("constant", "cosine"))
        require(0 < start <= 1, "start", "in (0, 1]", start)
        require(0 <= final <= 1, "final", "in [0, 1]", final)
        self.share, self.then, self.start, self.final = share, then, start, final
        super().__init__(optimizer, total_steps)

    def factor(self, t: float) -> float:
        """The line while warming up, then what follows it."""
        if t < self.share:
            return self.start + (1 - self.start) * t / self.share
        if self.then == "constant":
            return 1.0
        return cosine((t - self.share) / (1 - self.share), 1.0, self.final)

"""How large the configurations of a space are, and which of them are measured for all."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...platform.configuration.config import Config
from ...platform.training.building import build
from ...platform.training.trainer_context import quiet
from ..plan import Plan
from ..search.points import complete
from ..search.probe import probes

MAX_LOOKED = 48
LOOK_S = 6.0
LARGER = 4.0  # so many times the recipe's own parameters are much larger
BYTES_OF_PARAMETER = 16  # weight, gradient and Adam's two moments, in 32 bits each


@dataclass(frozen=True)
class Size:
    """One configuration.

    Args:
        values: Knob -> value; empty: the recipe as it stands.
        num_parameters: Of its model.
        batch_size: Of its data; 0: it does not say.
        classes: The classes that it names, which say more about its time than any number.
        number: The trial's number; None: a corner of the space, or the recipe itself.
    """

    values: dict[str, Any]
    num_parameters: int
    batch_size: int
    classes: tuple[str, ...]
    number: int | None = None

    @property
    def state_bytes(self) -> int:
        """Memory of the weights and all that an optimizer keeps of them."""
        return self.num_parameters * BYTES_OF_PARAMETER

    def distance(self, other: Size) -> float:
        """How unlike two are, in doublings."""
        parameters = abs(math.log2((1 + self.num_parameters) / (1 + other.num_parameters)))
        batches = abs(math.log2((1 + self.batch_size) / (1 + other.batch_size)))
        return parameters + batches + 2.0 * (self.classes != other.classes)


def proposals(plan: Plan, count: int) -> list[dict[str, Any]]:
    """Knob values of the first trials, as many as are looked at.

    They are the sweep's own where trials do not depend on results. A searcher that learns is not
    asked, for it would remember; what random search would draw stands in.
    """
    count = min(count, plan.proposer.count, MAX_LOOKED)
    if plan.proposer.name in ("random", "grid"):
        found = (plan.proposer.propose(number) for number in range(count))
        return [values for values in found if values is not None]
    points = [*plan.points, *[{}] * count][:count]
    return [complete(p, plan.space, plan.seed, n) for n, p in enumerate(points)]


def look(plan: Plan, values: Sequence[Mapping[str, Any]]) -> tuple[Size, list[Size], list[Size]]:
    """The sizes of the recipe, of its trials and of the corners of its space.

    Args:
        plan: The sweep.
        values: Knob values of the trials.

    Returns:
        The recipe's own, those of as many trials as time allows, those of the corners.
    """
    until = time.monotonic() + LOOK_S
    base = size_of(plan.config, {})
    corners = [_sized(plan, corner, None) for corner in probes(plan.space)[:MAX_LOOKED]]
    trials = []
    for number, one in enumerate(values):
        if trials and time.monotonic() > until:
            break
        trials.append(_sized(plan, one, number))
    return base, trials, corners


def _sized(plan: Plan, values: Mapping[str, Any], number: int | None) -> Size:
    config = plan.config.override(plan.space.assignments(values))
    return size_of(config, dict(values), number)


def size_of(config: Config, values: dict[str, Any], number: int | None = None) -> Size:
    """The size of what a config builds; without memory where its code allows that."""
    config.resolved  # noqa: B018 - a mistake in the config is told before anything is built
    built = None
    with contextlib.suppress(Exception), quiet(), torch.device("meta"):
        built = build(config)
    if built is None:
        with quiet():
            built = build(config)
    parameters = sum(p.numel() for p in built.model.parameters())
    batch = getattr(built.data, "batch_size", None)
    named = [config.get(f"{part}.class_path") for part in ("model", "data", "optimizer")]
    classes = tuple(str(name) for name in named if name)
    return Size(values, parameters, batch if isinstance(batch, int) else 0, classes, number)


def choose(sizes: Sequence[Size], count: int) -> list[int]:
    """Places of a few sizes that stand for all: each the furthest from those before it."""
    middle = sorted(range(len(sizes)), key=lambda i: (sizes[i].num_parameters, i))
    chosen = [middle[len(middle) // 2]] if middle else []
    while len(chosen) < min(count, len(sizes)):
        gaps = [min(sizes[i].distance(sizes[c]) for c in chosen) for i in range(len(sizes))]
        chosen.append(max(range(len(sizes)), key=gaps.__getitem__))
        if gaps[chosen[-1]] == 0:
            return chosen[:-1]
    return chosen


def nearest(size: Size, others: Sequence[Size]) -> int:
    """The place of the one that is most like it."""
    return min(range(len(others)), key=lambda i: size.distance(others[i]))

"""A space as the searchers of Ray Tune see it: one line of numbers, or one list, for each knob.

The knobs go by `x0`, `x1`, ..., since some classes read a structure out of dots and slashes. A line
of logarithms becomes a plain one, as not every class knows them, and options become their places,
as some take only numbers and text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray import tune

from .axes import axis, decode, encode
from .distributions import Distribution
from .space import Space

_CLOSE = 1e-6  # of an axis' width


def domains(space: Space) -> dict[str, Any]:
    """Tune's domain of each knob."""
    return {f"x{i}": _domain(knob.draws) for i, knob in enumerate(space.knobs)}


def _domain(draws: Distribution) -> Any:
    numbers = axis(draws)
    if numbers.kind == "index":
        return tune.choice([*range(int(numbers.high) + 1)])
    if numbers.kind == "whole":
        return tune.randint(int(numbers.low), int(numbers.high) + 1)  # its end is left out
    return tune.uniform(_on_line(draws, numbers.low), _on_line(draws, numbers.high))


def numbers_of(space: Space, values: Mapping[str, Any]) -> dict[str, float]:
    """A configuration as a searcher sees it.

    Args:
        space: A space without conditions.
        values: A value of each knob.
    """
    return {
        f"x{i}": _on_line(knob.draws, encode(knob.draws, values[knob.name]))
        for i, knob in enumerate(space.knobs)
    }


def values_of(space: Space, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """What a searcher suggests, as knob values."""
    return {
        knob.name: decode(knob.draws, _from_line(knob.draws, numbers[f"x{i}"]))
        for i, knob in enumerate(space.knobs)
    }


def is_same(space: Space, numbers: Any, values: Mapping[str, Any]) -> bool:
    """Whether what a searcher suggests is a configuration that it was given, but for rounding."""
    if not isinstance(numbers, Mapping):
        return False
    wanted = numbers_of(space, values)
    for i, knob in enumerate(space.knobs):
        line = axis(knob.draws)
        width = _on_line(knob.draws, line.high) - _on_line(knob.draws, line.low)
        if abs(numbers[f"x{i}"] - wanted[f"x{i}"]) > _CLOSE * max(width, 1.0):
            return False
    return True


def _on_line(draws: Distribution, number: float) -> float:
    return math.log(number) if axis(draws).kind == "log" else number


def _from_line(draws: Distribution, number: float) -> float:
    return math.exp(number) if axis(draws).kind == "log" else number

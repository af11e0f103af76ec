"""A knob's values as plain numbers and back, which is all that a searcher of others need know.

    uniform, loguniform   the number itself, on a line or on a line of logarithms
    quniform              how many steps it is from zero, a whole number
    randint               the number itself, a whole number
    choice                the place among the options, from 0; their order means nothing

Going there and back gives a distribution's own value, so the same code says which values are its
own: a number off the grid of a `quniform`, or no option of a `choice`, has no number here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ...platform.errors import UserError, must
from .distributions import Choice, Distribution, LogUniform, QUniform, RandInt, Uniform
from .space import Space

MAX_WHOLE = 2**40  # beyond, the probability of one whole number drowns in rounding
_MAX_LISTED = 12
_CLOSE = 1e-9


@dataclass(frozen=True)
class Axis:
    """The numbers that stand for a knob's values.

    Args:
        kind: `real` and `log` hold real numbers, `whole` whole ones, `index` places in a list.
        low: The smallest.
        high: The largest, included.
    """

    kind: Literal["real", "log", "whole", "index"]
    low: float
    high: float


def axis(draws: Distribution) -> Axis:
    """The numbers that stand for a distribution's values."""
    if isinstance(draws, Uniform):
        return Axis("real", draws.low, draws.high)
    if isinstance(draws, LogUniform):
        return Axis("log", draws.low, draws.high)
    if isinstance(draws, QUniform):
        return Axis("whole", round(draws.low / draws.step), round(draws.high / draws.step))
    if isinstance(draws, RandInt):
        return Axis("whole", draws.low, draws.high)
    return Axis("index", 0, len(draws.options) - 1)


def decode(draws: Distribution, number: float) -> Any:
    """The value that a number stands for; rounding beyond an end counts as the end."""
    line = axis(draws)
    number = min(max(number, line.low), line.high)
    if isinstance(draws, QUniform):
        return draws.multiple(round(number))
    if isinstance(draws, Choice):
        return draws.options[round(number)]
    return round(number) if isinstance(draws, RandInt) else float(number)


def encode(draws: Distribution, value: Any) -> float:
    """The number that stands for a value.

    Raises:
        ValueError: The distribution never gives it; the message is the rule that it breaks.
    """
    if isinstance(draws, Choice):
        return _place(draws, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(rule(draws))
    if not draws.low <= value <= draws.high:  # nor is NaN
        raise ValueError(rule(draws))
    if isinstance(draws, RandInt):
        if value != int(value):
            raise ValueError(rule(draws))
        return int(value)
    return _steps(draws, value) if isinstance(draws, QUniform) else float(value)


def _place(draws: Choice, value: Any) -> int:
    """The place of an option; 1, 1.0 and True differ where the list tells them apart."""
    alike = [i for i, option in enumerate(draws.options) if option == value]
    alike = [i for i in alike if isinstance(draws.options[i], bool) == isinstance(value, bool)]
    if not alike:
        raise ValueError(rule(draws))
    exact = [i for i in alike if type(draws.options[i]) is type(value)]
    return (exact or alike)[0]


def _steps(draws: QUniform, value: float) -> int:
    count = round(value / draws.step)
    if not math.isclose(draws.multiple(count), value, rel_tol=_CLOSE, abs_tol=_CLOSE * draws.step):
        raise ValueError(rule(draws))
    return count


def rule(draws: Distribution) -> str:
    """Which values a distribution gives, to follow "must be"."""
    if isinstance(draws, Choice):
        return f"one of {', '.join(repr(option) for option in draws.options)}"
    if isinstance(draws, QUniform):
        line = axis(draws)
        counts = range(int(line.low), int(line.high) + 1)
        if len(counts) <= _MAX_LISTED:
            return f"one of {', '.join(repr(draws.multiple(count)) for count in counts)}"
        return f"a multiple of {draws.step} from {draws.low} to {draws.high}"
    kind = "a whole number" if isinstance(draws, RandInt) else "a number"
    return f"{kind} from {draws.low} to {draws.high}"


def check_axes(space: Space, search: str) -> None:
    """Refuse what a searcher that counts in floats cannot take.

    Args:
        space: The space.
        search: The searcher's name, for the message.

    Raises:
        UserError: A `grid`, whole numbers beyond what floats tell apart, or a range so wide that
            its width is infinite.
    """
    space.check_random(search)
    for knob in space.knobs:
        line = axis(knob.draws)
        too_large = line.kind == "whole" and max(abs(line.low), abs(line.high)) > MAX_WHOLE
        if too_large or not math.isfinite(float(line.high) - float(line.low)):
            limit = "at most 2**40 from zero" if too_large else "less wide than a float holds"
            raise UserError(
                must(knob.where, f"a range {limit} under {search} search", [line.low, line.high]),
                knob.where,
                "narrow it, or search at random",
            )

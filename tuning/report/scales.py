"""Where a value stands on an axis, from 0 to 1, and which ticks the axis has. Pure.

A knob's axis comes from its distribution: logarithmic for `loguniform`, one place an option for a
`choice`. Pictures, page and importances read the same axis, so a knob means the same in each.
"""

from __future__ import annotations

import functools
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..rows import Rows
from ..search.distributions import Choice, Distribution, LogUniform
from ..search.space import Space
from ..table import format_value

LOG_FROM = 30  # a range of positive numbers this many times its low end reads better as decades
LOG_SCORES_FROM = 10  # of a loss, whose small values matter; of an accuracy the large ones do
MARGIN = 0.04  # of an axis, beyond the least and the largest value


@dataclass(frozen=True)
class Numbers:
    """An axis of numbers from `low` to `high`, low < high."""

    low: float
    high: float
    is_log: bool = False

    def place(self, value: Any) -> float | None:
        """From 0 at `low` to 1 at `high`, beyond outside; None for what is no finite number."""
        if not is_number(value) or (self.is_log and value <= 0):
            return None
        low, high, at = (self._unit(x) for x in (self.low, self.high, value))
        return (at - low) / (high - low)

    def _unit(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """(value, label) of about `count` round numbers inside."""
        values = _decades(self.low, self.high) if self.is_log else []
        if len(values) < 2:
            values = _round_steps(self.low, self.high, count)
        values = values[:: max(1, round(len(values) / count))]
        return [(value, tick_text(value)) for value in values]


@dataclass(frozen=True)
class Options:
    """An axis with one place for each option, in their order."""

    options: tuple[Any, ...]

    def place(self, value: Any) -> float | None:
        """The middle of the option's share of the axis; None for a value that is no option."""
        index = self._indices.get(_key(value))
        return None if index is None else (index + 0.5) / len(self.options)

    @functools.cached_property
    def _indices(self) -> dict[str, int]:
        return {_key(option): index for index, option in enumerate(self.options)}

    def ticks(self, count: int = 0) -> list[tuple[Any, str]]:
        """(value, label) of every option."""
        return [(option, format_value(option)) for option in self.options]


Axis = Numbers | Options


def _key(value: Any) -> str:
    """Equal for equal options only: 1, 1.0 and True are three."""
    return json.dumps(value, sort_keys=True, default=str)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; True is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def knob_axes(rows: Rows, space: Space | None) -> dict[str, Axis]:
    """Knob -> its axis, for every knob that some trial has, in the order of the space.

    Values that the space does not know, as of a configuration that the user gave, widen the axis.
    """
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.values.items():
            values.setdefault(name, []).append(value)
    draws = {knob.name: knob.draws for knob in space.knobs} if space else {}
    names = [*[name for name in draws if name in values], *[n for n in values if n not in draws]]
    return {name: _axis(draws.get(name), values[name]) for name in names}


def _axis(draws: Distribution | None, values: Sequence[Any]) -> Axis:
    numeric = all(is_number(value) for value in values)
    if isinstance(draws, Choice) or (draws is None and not numeric) or not numeric:
        known = list(draws.options) if isinstance(draws, Choice) else []
        extra = {_key(value): value for value in values}
        for option in known:
            extra.pop(_key(option), None)
        return Options((*known, *(extra[key] for key in sorted(extra))))
    if draws is None:
        return spanning(values)
    low, high = min(draws.low, *values), max(draws.high, *values)
    return Numbers(low, high, isinstance(draws, LogUniform) and low > 0)


def spanning(values: Iterable[float]) -> Numbers:
    """The axis of some finite numbers, logarithmic where they span decades."""
    found = sorted(values)
    low, high = (found[0], found[-1]) if found else (0.0, 1.0)
    if low == high:
        pad = abs(low) / 10 or 1.0
        return Numbers(low - pad, high + pad)
    return Numbers(low, high, low > 0 and high / low > LOG_FROM)


def score_axis(scores: Iterable[float], mode: str) -> Numbers:
    """The axis of scores, with a margin, and without what lies far off on the bad side.

    A few scores of a diverging trial would squeeze all others into one line.
    """
    found = sorted(score for score in scores if math.isfinite(score))
    sign = 1 if mode == "min" else -1
    worst = _usual_worst([sign * score for score in found])
    shown = [score for score in found if sign * score <= worst]
    axis = spanning(shown)
    is_log = mode == "min" and 0 < LOG_SCORES_FROM * axis.low < axis.high
    return padded(replace(axis, is_log=is_log))


def padded(axis: Numbers) -> Numbers:
    """An axis with a margin at both ends, so that no point lies on its frame."""
    if axis.is_log:
        factor = (axis.high / axis.low) ** MARGIN
        return replace(axis, low=axis.low / factor, high=axis.high * factor)
    pad = (axis.high - axis.low) * MARGIN
    return replace(axis, low=axis.low - pad, high=axis.high + pad)


def _usual_worst(costs: list[float]) -> float:
    """The largest cost that is not far off: nineteen of twenty, and thrice their half beyond."""
    if len(costs) < 20:
        return math.inf
    edge = statistics.quantiles(costs, n=20)[-1]
    return edge + 3 * (edge - statistics.median(costs))


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten inside, with their twos and fives where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1,) if last - first > 3 else (1, 3) if last - first > 2 else (1, 2, 5)
    values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [value for value in values if low * 0.9999 <= value <= high * 1.0001]


def _round_steps(low: float, high: float, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten inside, about `count` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.7)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) if step > 1e-9 else i * step for i in range(first, last + 1)]


def tick_text(value: float) -> str:
    """A round number as short as it can be: `0.001`, `1e-5`, `20000`."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.6g}"
    mantissa, _, power = f"{value:.3g}".partition("e")
    if not power:
        mantissa, _, power = f"{value:.0e}".partition("e")
    return f"{mantissa}e{int(power)}"


def percent(share: float) -> str:
    """A share in percent, whole."""
    return f"{100 * share:.0f} %"


def time_unit(seconds: float) -> tuple[float, str]:
    """What to divide seconds by to tell so many of them, and the unit's name."""
    table: Mapping[float, str] = {3600.0: "hours", 60.0: "minutes"}
    return next(((size, unit) for size, unit in table.items() if seconds > 2 * size), (1.0, "s"))

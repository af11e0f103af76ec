"""What a knob's value is drawn from: `{loguniform: [1.0e-4, 1.0e-1]}` and its like, as data.

A distribution maps one number u of [0, 1) to a value (its quantile function), so a draw costs one
uniform number and a knob's draw never depends on how many others were made before it. Pure Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ...platform.errors import UserError, must, unknown


@dataclass(frozen=True)
class Uniform:
    """Real numbers, evenly, from `low` to `high`."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """The u-quantile; the difference is never formed, so bounds of any size do."""
        return self.low * (1 - u) + self.high * u

    def ends(self) -> list[Any]:
        """Values that a config must be able to take: both bounds."""
        return [self.low, self.high]


@dataclass(frozen=True)
class LogUniform:
    """Positive real numbers whose logarithm is even: each decade is as likely as any other."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """The u-quantile, kept inside the bounds that rounding could overstep."""
        value = math.exp(math.log(self.low) * (1 - u) + math.log(self.high) * u)
        return min(max(value, self.low), self.high)

    def ends(self) -> list[Any]:
        """Both bounds."""
        return [self.low, self.high]


@dataclass(frozen=True)
class QUniform:
    """Multiples of `step`, evenly, from `low` to `high`; whole numbers when all three are whole."""

    low: float
    high: float
    step: float

    def at(self, u: float) -> float:
        """The multiple of `step` nearest to the u-quantile, kept inside the bounds."""
        raw = self.low * (1 - u) + self.high * u
        return self.multiple(round(raw / self.step))

    def multiple(self, count: int) -> float:
        """`count` times the step, kept inside the bounds."""
        if isinstance(self.step, int):
            value = count * self.step
        else:  # in decimals, as 3 * 0.1 is 0.30000000000000004
            value = float(count * Decimal(str(self.step)))
        return min(max(value, self.low), self.high)

    def ends(self) -> list[Any]:
        """Both bounds."""
        return [self.low, self.high]


@dataclass(frozen=True)
class RandInt:
    """Whole numbers, evenly, from `low` to `high`, both included."""

    low: int
    high: int

    def at(self, u: float) -> int:
        """The u-quantile."""
        return min(self.low + int(u * (self.high - self.low + 1)), self.high)

    def ends(self) -> list[Any]:
        """Both bounds."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Choice:
    """One of some values, evenly. `grid` is the same to a config, but asks to be enumerated."""

    options: tuple[Any, ...]
    grid: bool = False

    def at(self, u: float) -> Any:
        """The u-quantile in the order written."""
        return self.options[min(int(u * len(self.options)), len(self.options) - 1)]

    def ends(self) -> list[Any]:
        """Every option."""
        return list(self.options)


Distribution = Uniform | LogUniform | QUniform | RandInt | Choice


def _bounds(data: Any, where: str, count: int = 2, *, whole: bool = False) -> list[Any]:
    """The numbers of `[low, high]` or `[low, high, step]`, checked to be finite and in order."""
    names = "[low, high, step]" if count == 3 else "[low, high]"
    kind = "whole" if whole else "finite"
    valid = isinstance(data, (list, tuple)) and len(data) == count
    if not valid or not all(_is_number(x, whole) for x in data):
        raise UserError(
            must(where, f"{names} of {kind} numbers", data), where, _number_remedy(data)
        )
    low, high, *_ = data
    if low >= high:
        raise UserError(must(where, f"{names} with low < high", data), where)
    return list(data)


def _is_number(x: Any, whole: bool) -> bool:
    if isinstance(x, bool) or not isinstance(x, int if whole else (int, float)):
        return False
    try:
        return math.isfinite(x)
    except OverflowError:  # a whole number beyond what a float holds
        return False


def _number_remedy(data: Any) -> str:
    texts = isinstance(data, (list, tuple)) and any(isinstance(x, str) for x in data)
    return "leave out the quotes, and write numbers like 1.0e-4" if texts else ""


def _uniform(data: Any, where: str) -> Uniform:
    low, high = _bounds(data, where)
    return Uniform(float(low), float(high))


def _loguniform(data: Any, where: str) -> LogUniform:
    low, high = _bounds(data, where)
    if low <= 0:
        rule = "[low, high] with low > 0, as a logarithm needs it"
        raise UserError(
            must(where, rule, data), where, "uniform, or a small positive low such as 1.0e-6"
        )
    return LogUniform(float(low), float(high))


def _quniform(data: Any, where: str) -> QUniform:
    low, high, step = _bounds(data, where, 3)
    if not 0 < step <= high - low:
        raise UserError(must(where, "[low, high, step] with 0 < step <= high - low", data), where)
    return QUniform(low, high, step)


def _randint(data: Any, where: str) -> RandInt:
    return RandInt(*_bounds(data, where, whole=True))


def _choice(data: Any, where: str) -> Choice:
    if not isinstance(data, (list, tuple)) or not data:
        raise UserError(must(where, "a list of at least one value", data), where)
    repeated = [x for i, x in enumerate(data) if any(_same(x, y) for y in data[:i])]
    if repeated:
        raise UserError(must(where, f"a list without repeats (of {repeated[0]!r})", data), where)
    return Choice(tuple(data))


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b  # 1, 1.0 and True are three different options


def _grid(data: Any, where: str) -> Choice:
    return Choice(_choice(data, where).options, grid=True)


PARSERS: Mapping[str, Callable[[Any, str], Distribution]] = {
    "uniform": _uniform,
    "loguniform": _loguniform,
    "quniform": _quniform,
    "randint": _randint,
    "choice": _choice,
    "grid": _grid,
}


def parse(data: Mapping[str, Any], where: str) -> Distribution:
    """The one distribution that a knob's mapping names.

    Args:
        data: Such as `{"uniform": [0, 1]}`; nothing but distributions.
        where: The knob's place in the config, for messages.

    Raises:
        UserError: No distribution, several, an unknown one, or bounds that make no sense.
    """
    for name in data:
        if name not in PARSERS:
            raise unknown(where, str(name), PARSERS, where)
    if len(data) != 1:
        rule = f"given exactly one distribution ({', '.join(PARSERS)})"
        raise UserError(must(where, rule, dict(data)), where)
    ((name, argument),) = data.items()
    return PARSERS[name](argument, f"{where}.{name}")

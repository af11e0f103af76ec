"""Knobs whose best trials lean on an edge of their range, and the wider range to try. Pure.

The best quarter of the trials leans on an edge when a third of it lies in the outer part of the
range there, more than in the part beside it, and chance would do that once in twenty times. Drawn
at random with an optimum on or beyond the edge, 32 trials show it in half of the sweeps and 200 in
four of five; with the optimum at three quarters of the range in one of fifteen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..rows import Rows
from ..search.distributions import Choice, Distribution, LogUniform, QUniform, RandInt, Uniform
from ..search.space import Space
from .ranking import best_quarter
from .scales import Numbers, Options, is_number

OUTER = 0.15  # of the axis
ALPHA = 0.05  # odds of a false alarm at one edge
_QUANTILES = 400


@dataclass(frozen=True)
class Leaning:
    """A knob whose best values lie at an edge.

    Args:
        knob: Its name.
        is_high: Whether it is the upper edge, or the last option.
        edge: The edge.
        inside: How many of the best trials lie in the outer part there.
        of: How many of the best trials have the knob.
        wider: What to draw from next.
    """

    knob: str
    is_high: bool
    edge: float
    inside: int
    of: int
    wider: Distribution


def leanings(rows: Rows, space: Space) -> list[Leaning]:
    """Knobs that lean on an edge beyond which their range can sensibly grow."""
    best = best_quarter(rows)
    found = []
    for knob in space.knobs:
        values = [row.values[knob.name] for row in best if knob.name in row.values]
        for is_high in (False, True):
            wide = wider(knob.draws, is_high=is_high)
            inside = _count_outer(knob.draws, values, is_high=is_high)
            if wide is not None and inside is not None:
                ends = knob.draws.ends()
                edge = ends[-1 if is_high else 0]
                found.append(Leaning(knob.name, is_high, edge, inside, len(values), wide))
    return found


def _count_outer(draws: Distribution, values: Sequence[Any], *, is_high: bool) -> int | None:
    """How many values lie in the outer part of the range; None when they do not lean on it."""
    if isinstance(draws, Choice):
        width, axis = 1 / len(draws.options), Options(draws.options)
    else:
        width, axis = OUTER, Numbers(draws.low, draws.high, isinstance(draws, LogUniform))
    chances = [axis.place(draws.at((i + 0.5) / _QUANTILES)) for i in range(_QUANTILES)]
    share = sum(_is_in(c, 0, width, is_high) for c in chances) / _QUANTILES
    places = [axis.place(value) for value in values]
    outer = sum(_is_in(p, 0, width, is_high) for p in places)
    beside = sum(_is_in(p, 1, width, is_high) for p in places)
    leans = outer * 3 >= len(values) and outer > beside
    return outer if leans and _tail(outer, len(values), share) < ALPHA else None


def _is_in(place: float | None, strip: int, width: float, is_high: bool) -> bool:
    """Whether a place lies in the strip of that number from the edge."""
    if place is None:
        return False
    return math.floor((1 - place if is_high else place) / width * (1 - 1e-9)) == strip


def _tail(count: int, of: int, share: float) -> float:
    """Odds that at least `count` of `of` fall into a part that each falls into with `share`."""
    return sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count, of + 1))


def wider(draws: Distribution, *, is_high: bool) -> Distribution | None:
    """The distribution with one bound moved outward, or with one more option.

    A uniform range inside [0, 1) is a share and stays there; one of positive numbers stays so.

    Returns:
        The wider one; None where nothing sensible lies beyond.
    """
    if isinstance(draws, LogUniform):
        factor = min(10.0, max(3.0, math.sqrt(draws.high / draws.low)))
        bound = draws.high * factor if is_high else draws.low / factor
        return _moved(draws, _rounded(bound, 1), is_high)
    if isinstance(draws, Choice):
        return _longer(draws, is_high)
    width = draws.high - draws.low
    bound = _inside(draws, draws.high + width / 2 if is_high else draws.low - width / 2)
    grown = bound - draws.high if is_high else draws.low - bound
    return _moved(draws, bound, is_high) if grown >= width / 20 else None


def _inside(draws: Uniform | QUniform | RandInt, bound: float) -> float:
    """A wider bound, held back where the meaning of the range ends, in the range's own steps."""
    if isinstance(draws, Uniform):
        bound = _rounded(bound, 2)
    if isinstance(draws, RandInt):
        bound = round(bound)
    if isinstance(draws, QUniform):
        bound = round(bound / draws.step) * draws.step
    if draws.low >= 1 and isinstance(draws.low, int):
        bound = max(bound, 1)
    if draws.low >= 0:
        bound = max(bound, 0)
        is_share = isinstance(draws, Uniform) and draws.high <= 1
        bound = min(bound, 0.99) if is_share else bound
    return bound


def _moved(draws: Any, bound: float, is_high: bool) -> Distribution:
    return replace(draws, high=bound) if is_high else replace(draws, low=bound)


def _longer(draws: Choice, is_high: bool) -> Choice | None:
    """A list of ascending numbers with the next one of its row at an end."""
    numbers = draws.options
    if len(numbers) < 3 or not all(is_number(n) for n in numbers):
        return None
    if list(numbers) != sorted(numbers):
        return None
    inner, edge = (numbers[-2], numbers[-1]) if is_high else (numbers[1], numbers[0])
    others = [b / a for a, b in itertools.pairwise(numbers) if a > 0]
    is_geometric = numbers[0] > 0 and max(others) < 1.2 * min(others)
    value = edge * edge / inner if is_geometric else edge + (edge - inner)
    value = round(value) if all(isinstance(n, int) for n in numbers) else _rounded(value, 3)
    is_share = numbers[0] >= 0 and numbers[-1] < 1
    if value in numbers or (numbers[0] >= 0 and value < 0) or (is_share and value >= 1):
        return None
    return replace(draws, options=(*numbers, value) if is_high else (value, *numbers))


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")

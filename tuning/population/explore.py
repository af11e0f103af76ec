"""How a copy's hyperparameters differ from its donor's. Pure; every draw is a function of its name.

A number is multiplied with one of the factors and kept inside its knob's bounds; an option goes to
the one before or behind it, in the order written; with some probability either is drawn anew
(Jaderberg et al., "Population Based Training of Neural Networks", 2017, section 3 and appendix A).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..search.distributions import Choice, QUniform, RandInt
from ..search.knobs import Knob
from ..search.space import Space

Draw = Callable[[str], float]


@dataclass(frozen=True)
class Exploration:
    """How hyperparameters change.

    Args:
        space: The sweep's space.
        mutable: Knobs that change; a copy takes the others as its donor has them.
        resample: Probability that one is drawn anew.
        factors: A number is multiplied with one of these.
    """

    space: Space
    mutable: Collection[str]
    resample: float
    factors: Sequence[float]

    def values(self, donated: Mapping[str, Any], draw: Draw) -> dict[str, Any]:
        """The knob values of a copy.

        Args:
            donated: The donor's.
            draw: A number of [0, 1) for a name.
        """

        def pick(knob: Knob, _: dict[str, Any]) -> Any:
            if knob.name not in donated:  # a condition of it began to hold
                return knob.draws.at(draw(f"{knob.name}/new"))
            value = donated[knob.name]
            return self._changed(knob, value, draw) if knob.name in self.mutable else value

        return self.space.fill(pick)

    def _changed(self, knob: Knob, value: Any, draw: Draw) -> Any:
        if draw(f"{knob.name}/whether") < self.resample:
            return knob.draws.at(draw(f"{knob.name}/new"))
        return perturbed(knob, value, self.factors, draw(f"{knob.name}/how"))


def perturbed(knob: Knob, value: Any, factors: Sequence[float], u: float) -> Any:
    """A value near another one.

    Args:
        knob: Whose value it is.
        value: The value to begin from.
        factors: What a number may be multiplied with.
        u: Which of the possibilities, a number of [0, 1).
    """
    draws = knob.draws
    if isinstance(draws, Choice):
        return _neighbour(draws.options, value, u)
    factor = factors[int(u * len(factors))]
    moved = min(max(value * factor, draws.low), draws.high)
    if isinstance(draws, RandInt):
        return _whole(moved, value, factor, draws.low, draws.high)
    if isinstance(draws, QUniform):
        count = _whole(moved / draws.step, round(value / draws.step), factor, None, None)
        return draws.multiple(count)
    return moved


def _whole(moved: float, value: int, factor: float, low: int | None, high: int | None) -> int:
    """The whole number nearest to `moved`, one away from `value` at least where bounds allow it."""
    found = round(moved)
    if found == value:
        found += 1 if factor > 1 else -1
    found = found if low is None else max(found, low)
    return found if high is None else min(found, high)


def _neighbour(options: Sequence[Any], value: Any, u: float) -> Any:
    """The option before or behind a value; at an end of the list the only one there is."""
    place = next((i for i, option in enumerate(options) if option == value), None)
    if place is None:  # a point of the user's own, which is no option
        return options[int(u * len(options))]
    beside = [i for i in (place - 1, place + 1) if 0 <= i < len(options)]
    return options[beside[int(u * len(beside))]] if beside else value

"""The Pareto front of several objectives: trials that no other one beats in all of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..rows import Rows
from .ranking import ended


@dataclass(frozen=True)
class Point:
    """A trial in the space of the objectives.

    Args:
        number: The trial.
        values: One for each objective, in their order.
        is_on_front: Whether no other trial is as good in all of them and better in one.
    """

    number: int
    values: tuple[float, ...]
    is_on_front: bool


def on_front(points: Sequence[Sequence[float]], modes: Sequence[str]) -> list[bool]:
    """For each point, whether no other dominates it; equal points stand or fall together.

    Args:
        points: Finite values, N points by M objectives.
        modes: `min` or `max` for each objective.
    """
    signs = [1 if mode == "min" else -1 for mode in modes]
    costs = [tuple(s * v for s, v in zip(signs, point, strict=True)) for point in points]
    front: list[tuple[float, ...]] = []
    # Whoever dominates a point comes before it in lexical order, so one look back is enough.
    for cost in sorted(set(costs)):
        if not any(all(a <= b for a, b in zip(other, cost, strict=True)) for other in front):
            front.append(cost)
    kept = set(front)
    return [cost in kept for cost in costs]


def pareto(rows: Rows, modes: Mapping[str, str]) -> list[Point]:
    """The ended trials that have a value for every objective.

    Args:
        rows: The trials.
        modes: Every objective, name -> `min` or `max`.
    """
    found = [(row, [row.value_of(name) for name in modes]) for row in ended(rows)]
    whole = [
        (row.number, tuple(v for v in values if v is not None))
        for row, values in found
        if None not in values
    ]
    marks = on_front([values for _, values in whole], list(modes.values()))
    return [
        Point(number, values, mark) for (number, values), mark in zip(whole, marks, strict=True)
    ]

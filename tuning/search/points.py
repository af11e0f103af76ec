"""Configurations tried before a searcher's own: written by hand, or the best of an earlier sweep.

A point may name some knobs only; the searcher then proposes the others. Whether a knob of a point
applies must not hang on what is proposed, so its conditions have to be decided by the point itself
or by the config.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...platform.configuration.keys import full_key, short_key
from ...platform.errors import UserError, must, unknown
from ..rows import Rows, TrialRow
from .axes import decode, encode
from .knobs import Knob, accepts
from .space import Space, unit

WHERE = "sweep.points"


def read_points(data: Any, space: Space) -> list[dict[str, Any]]:
    """Parse and check `sweep.points`.

    Args:
        data: A list of mappings, knob name or key -> value.
        space: The space that the points lie in.

    Returns:
        The points by knob names, with the values as the space gives them.

    Raises:
        UserError: At `sweep.points.N`, whatever is wrong with point N.
    """
    if not isinstance(data, (list, tuple)):
        raise UserError(must(WHERE, "a list of mappings, one a trial", data), WHERE)
    return [_read_point(point, space, f"{WHERE}.{i}") for i, point in enumerate(data)]


def _read_point(data: Any, space: Space, where: str) -> dict[str, Any]:
    if not isinstance(data, Mapping) or not data:
        rule = "a mapping of knobs to values such as {learning_rate: 0.01}"
        raise UserError(must(where, rule, data), where)
    by_key = _by_key(space)
    point: dict[str, Any] = {}
    for name, value in data.items():
        knob = by_key.get(full_key(str(name)))
        if knob is None:
            raise unknown(where, str(name), [knob.name for knob in space.knobs], where)
        if knob.name in point:
            raise UserError(must(f"{where}.{name}", "given once", f"{knob.name} again"), where)
        try:
            point[knob.name] = decode(knob.draws, encode(knob.draws, value))
        except ValueError as error:
            raise UserError(must(f"{where}.{name}", str(error), value), where) from None
    for knob in space.knobs:
        if knob.name in point and (doubt := _doubt(knob, space, point)):
            raise UserError(
                must(f"{where}.{knob.name}", f"left out, or {doubt}", point[knob.name]), where
            )
    return point


def _by_key(space: Space) -> dict[str, Knob]:
    """The knobs by their names as full keys, then by what they are put at."""
    by_key = {full_key(knob.name): knob for knob in space.knobs}
    for knob in space.knobs:
        for target in knob.targets:
            by_key.setdefault(target, knob)
    return by_key


def _doubt(knob: Knob, space: Space, point: Mapping[str, Any]) -> str:
    """What a point lacks that would let one of its knobs apply; empty when it applies."""
    for key, wanted in knob.when.items():
        if not (_decided(key, space, point) and accepts(key, wanted, space.value(key, point))):
            deciding = [parent.name for parent in space.knobs if parent.sets(key)]
            name = deciding[0] if deciding else short_key(key)
            return f"beside `{name}` of {', '.join(str(value) for value in wanted)}"
    return ""


def _decided(key: str, space: Space, point: Mapping[str, Any]) -> bool:
    """Whether a key's value is known, whatever is proposed for what a point leaves out."""
    deciding = [knob for knob in space.knobs if knob.sets(key)]
    if any(knob.name in point for knob in deciding):
        return True
    return all(_ruled_out(knob, space, point) for knob in deciding)


def _ruled_out(knob: Knob, space: Space, point: Mapping[str, Any]) -> bool:
    """Whether a knob cannot apply beside a point."""
    return any(
        _decided(key, space, point) and not accepts(key, wanted, space.value(key, point))
        for key, wanted in knob.when.items()
    )


def complete(point: Mapping[str, Any], space: Space, seed: int, number: int) -> dict[str, Any]:
    """A point whose other knobs are as a random search draws them.

    Args:
        point: Values of some knobs, such as `read_points` gives; empty: all are drawn.
        space: The space.
        seed: The sweep's seed.
        number: The trial's number, from 0.
    """

    def pick(knob: Knob, _: Mapping[str, Any]) -> Any:
        name = knob.name
        return point[name] if name in point else knob.draws.at(unit(seed, number, name))

    return space.fill(pick)


def points_of(rows: Rows, space: Space, count: int) -> list[dict[str, Any]]:
    """The best configurations of an earlier sweep, as far as this space has them.

    Args:
        rows: The earlier sweep's trials; those without a finite score and the failed are passed.
        space: The space of the new sweep.
        count: How many at most.

    Returns:
        Distinct points, the best first. Knobs that this space lacks, values that it never gives
        and knobs that need what is not there are left out, and so are points without any knob.
    """
    found: list[dict[str, Any]] = []
    for row in _ranked(rows):
        point = _fitting(row.best_values or row.values, space)
        if point and point not in found:
            found.append(point)
    return found[:count]


def _ranked(rows: Rows) -> list[TrialRow]:
    """The trials with a score, the best first, the earlier of equals before the later."""
    scored = [row for row in rows if row.score is not None and row.status != "failed"]
    sign = 1 if rows.mode == "min" else -1
    return sorted(scored, key=lambda row: sign * (row.score or 0.0))


def _fitting(values: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """What a point can take over of an earlier trial's values."""
    by_key = {full_key(name): value for name, value in values.items()}
    point: dict[str, Any] = {}
    for knob in space.knobs:  # in this order what a condition names is known before it is asked
        keys = [full_key(knob.name), *knob.targets]
        key = next((key for key in keys if key in by_key), None)
        if key is None or _doubt(knob, space, point):
            continue
        try:
            point[knob.name] = decode(knob.draws, encode(knob.draws, by_key[key]))
        except ValueError:
            continue
    return point

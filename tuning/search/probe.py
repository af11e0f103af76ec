"""Checking a whole space before the first trial: every option and both bounds, in few configs.

A config takes a tenth of a second to parse, so one probe carries an untried value of every knob at
once: as many probes as the knob with the most options has. Only when one is refused are its knobs
tried alone, to name the guilty one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...platform.errors import UserError, must
from .knobs import Knob
from .space import Space

Try = Callable[[dict[str, Any]], object]


def probes(space: Space) -> list[dict[str, Any]]:
    """Complete knob values that together hold every option and both bounds of each knob.

    A value that no combination lets exist (its knob's condition cannot hold) is left out.
    """
    untried = {k.name: k.draws.ends() if space.possible(k) else [] for k in space.knobs}
    found = []
    for knob in space.knobs:
        while untried[knob.name]:
            value = untried[knob.name].pop(0)
            forced = _needs(space, knob, untried) | {knob.name: value}
            values = space.fill(
                lambda k, _, f=forced: f[k.name] if k.name in f else _next(k, untried)
            )
            if knob.name not in values:
                continue  # its conditions contradict each other
            found.append(values)
            for name, tried in values.items():
                untried[name] = [v for v in untried[name] if v is not tried]
    return found


def with_needs(space: Space, knob: Knob, value: Any) -> dict[str, Any]:
    """What to override so that a knob has a value: its own keys, and those that let it exist."""
    ends = {k.name: k.draws.ends() for k in space.knobs}
    return space.assignments(_needs(space, knob, ends) | {knob.name: value})


def check(space: Space, try_config: Try) -> int:
    """Try every probe; the first refusal is told at the knob that caused it.

    Args:
        space: The space.
        try_config: Takes {dotted key: value} and raises UserError when the config refuses them.

    Returns:
        How many probes there were.

    Raises:
        UserError: At `sweep.space.KNOB`, with the value and the config's own message.
    """
    found = probes(space)
    for values in found:
        try:
            try_config(space.assignments(values))
        except UserError as error:
            raise _blame(space, values, try_config, error) from None
    return len(found)


def _blame(space: Space, values: dict[str, Any], try_config: Try, error: UserError) -> UserError:
    """The error of the first knob that fails beside nothing but what its conditions need."""
    for knob in space.knobs:
        if knob.name not in values:
            continue
        alone = {name: values[name] for name in _family(space, knob) if name in values}
        try:
            try_config(space.assignments(alone))
        except UserError as own:
            rule = "drawn from values that the config takes"
            what = f"{must(knob.where, rule, values[knob.name])} {own.what}"
            return UserError(what, knob.where, own.remedy)
    together = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return UserError(f"{error.what} (knobs together: {together})", "sweep.space", error.remedy)


def _family(space: Space, knob: Knob) -> list[str]:
    """A knob and all that its conditions rest on."""
    parents = [p for key in knob.when for p in space.knobs if p.sets(key)]
    return [name for p in parents for name in _family(space, p)] + [knob.name]


def _next(knob: Knob, untried: Mapping[str, list[Any]]) -> Any:
    return (untried[knob.name] or knob.draws.ends())[0]


def _needs(space: Space, knob: Knob, untried: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Values of other knobs that let this one exist, untried ones first."""
    needs: dict[str, Any] = {}
    for key, wanted in knob.when.items():
        for parent in space.knobs:
            taking = parent.taking(key, wanted) if parent.sets(key) else []
            if taking and space.possible(parent):
                fresh = [v for v in taking if any(v is u for u in untried[parent.name])]
                needs |= _needs(space, parent, untried) | {parent.name: (fresh or taking)[0]}
                break
    return needs

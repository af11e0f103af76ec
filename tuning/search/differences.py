"""Whether two spaces are the same, and what differs: a sweep goes on only in the space it began in.

The same space can be written in several ways (`to` left out, a key without `init_args`, one wanted
value instead of a list of one). Both sides are brought into one form before they are compared, and
that form is itself a `sweep.space`, so that it can be kept beside a sweep and read again. The order
of the knobs counts only where all are lists, as a grid search numbers its trials by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ...platform.configuration.keys import full_key, short_key
from .distributions import PARSERS, Choice, Distribution, QUniform
from .space import Space

_LISTS = ("choice", "grid")


def as_data(space: Space) -> dict[str, Any]:
    """A space as `sweep.space` could declare it, in the form that `differences` compares."""
    return {
        knob.name: {
            "to": [*knob.targets],
            **_drawn(knob.draws),
            "when": {key: [*wanted] for key, wanted in knob.when.items()},
        }
        for knob in space.knobs
    }


def _drawn(draws: Distribution) -> dict[str, Any]:
    if isinstance(draws, Choice):
        return {"grid" if draws.grid else "choice": [*draws.options]}
    steps = [draws.step] if isinstance(draws, QUniform) else []
    return {type(draws).__name__.lower(): [draws.low, draws.high, *steps]}


def digest(space: Space) -> str:
    """A short text that is the same for equal spaces, however they were written."""
    data = _normal(as_data(space))
    knobs = [*data.items()] if _can_be_grid(data) else sorted(data.items())
    return hashlib.blake2b(_json(knobs).encode(), digest_size=8).hexdigest()


def differences(old: Any, new: Any) -> list[str]:
    """What differs between two spaces, a sentence each; empty when they are equal.

    Args:
        old: A space that was checked, as `sweep.space` or as `as_data` has it.
        new: Another, in the same of the two forms.
    """
    before, after = _normal(old), _normal(new)
    found = [f"`{name}` is gone" for name in before if name not in after]
    found += [f"`{name}` is new" for name in after if name not in before]
    for name in before:
        if name in after:
            found += _between(name, before[name], after[name])
    if not found and _can_be_grid(before) and [*before] != [*after]:
        found.append(f"the knobs stand in another order: {', '.join(after)}")
    return found


def _can_be_grid(data: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(any(kind in entry for kind in _LISTS) for entry in data.values())


def _normal(data: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A space's data in one form: keys in full, every part a list, numbers of one kind."""
    targets = {name: _listed(entry.get("to", name)) for name, entry in data.items()}
    normal = {}
    for name, entry in data.items():
        kind = next(kind for kind in PARSERS if kind in entry)
        conditions = entry.get("when") or {}
        firsts = {key: targets[key][0] if key in targets else key for key in conditions}
        wanted = {full_key(firsts[key]): _listed(conditions[key]) for key in conditions}
        normal[name] = {
            "to": [full_key(target) for target in targets[name]],
            kind: [*entry[kind]] if kind in _LISTS else _numbers(kind, entry[kind]),
            "when": {key: sorted(values, key=_json) for key, values in wanted.items()},
        }
    return normal


def _listed(value: Any) -> list[Any]:
    return [*value] if isinstance(value, (list, tuple)) else [value]


def _numbers(kind: str, values: Any) -> list[Any]:
    """Bounds and step; whether they are whole matters where they make whole values."""
    whole = kind in ("randint", "quniform") and all(isinstance(value, int) for value in values)
    return [*values] if whole else [float(value) for value in values]


def _between(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two knobs of one name."""
    (kind,), (now,) = ([key for key in side if key in PARSERS] for side in (old, new))
    if kind == now and kind in _LISTS:
        yield from _between_options(name, old[kind], new[kind])
    elif kind != now or _json(old[kind]) != _json(new[now]):
        yield f"`{name}` was {kind} {old[kind]} and is {now} {new[now]}"
    if old["to"] != new["to"]:
        yield f"`{name}` was put at {_keys(old['to'])} and is put at {_keys(new['to'])}"
    if _json(old["when"]) != _json(new["when"]):
        yield f"`{name}` applied {_conditions(old['when'])} and applies {_conditions(new['when'])}"


def _between_options(name: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    before, after = [_json(option) for option in old], [_json(option) for option in new]
    lost = [option for option in before if option not in after]
    gained = [option for option in after if option not in before]
    if lost:
        yield f"`{name}` no longer has {', '.join(lost)}"
    if gained:
        yield f"`{name}` has also {', '.join(gained)}"
    if before != after and not lost and not gained:
        yield f"`{name}` has its options in another order: {', '.join(after)}"


def _keys(keys: list[str]) -> str:
    return ", ".join(short_key(key) for key in keys)


def _conditions(when: Mapping[str, list[Any]]) -> str:
    stated = [f"{short_key(k)} is {' or '.join(str(w) for w in v)}" for k, v in when.items()]
    return f"where {' and '.join(stated)}" if stated else "always"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)

"""One knob of a space: reading it from plain data, its conditions, and the order knobs stand in.

A condition names another knob or a key of the config, and the values beside which a knob exists.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ...platform.configuration.keys import flatten, full_key, get_key
from ...platform.errors import UserError, must, unknown
from .distributions import Choice, Distribution, RandInt, parse

WHERE = "sweep.space"
_MISSING = object()


@dataclass(frozen=True)
class Knob:
    """One dimension of the space.

    Args:
        name: What `--vary` and the table call it.
        targets: Full dotted config keys that its value is put at.
        draws: What its value is drawn from.
        when: Full config key -> values beside which this knob exists.
    """

    name: str
    targets: tuple[str, ...]
    draws: Distribution
    when: Mapping[str, tuple[Any, ...]]

    @property
    def where(self) -> str:
        """Its place in the config, for messages."""
        return f"{WHERE}.{self.name}"

    def taking(self, key: str, wanted: Sequence[Any]) -> list[Any]:
        """The values of this knob that a condition on `key` accepts."""
        if isinstance(self.draws, RandInt):
            low, high = self.draws.low, self.draws.high
            return [w for w in wanted if isinstance(w, int) and low <= w <= high]
        if isinstance(self.draws, Choice):
            return [x for x in self.draws.options if accepts(key, wanted, self.at_key(key, x))]
        return []  # a real number is hit with probability zero

    def at_key(self, key: str, value: Any) -> Any:
        """What a value means for `key`: itself, or the part that the key names below a target."""
        for target in self.targets:
            if key.startswith(f"{target}."):
                return get_key(value, key[len(target) + 1 :])
        return value

    def sets(self, key: str) -> bool:
        """Whether this knob decides the value at a full config key."""
        return any(f"{key}.".startswith(f"{t}.") for t in self.targets)


def accepts(key: str, wanted: Sequence[Any], value: Any) -> bool:
    """Whether a condition holds; a class is the same by its short name and by its full path."""
    if key.endswith("class_path") and isinstance(value, str):
        return value.rpartition(".")[2] in {str(w).rpartition(".")[2] for w in wanted}
    return value in wanted


def read_knobs(data: Any, base: Mapping[str, Any]) -> tuple[Knob, ...]:
    """Parse and check `sweep.space`.

    Args:
        data: Knob name or dotted key -> its mapping.
        base: The config as plain values, for conditions on what is not varied.

    Returns:
        The knobs, each after those that its conditions name.

    Raises:
        UserError: Whatever is wrong with them, at `sweep.space.KNOB`.
    """
    if not isinstance(data, Mapping):
        raise UserError(must(WHERE, "a mapping of knobs", data), WHERE)
    knobs = [_read_knob(str(name), entry) for name, entry in data.items()]
    knobs = [replace(k, when=_full_conditions(k, knobs, base)) for k in knobs]
    _check_targets(knobs)
    needs = {k.name: [p.name for key in k.when for p in knobs if p.sets(key)] for k in knobs}
    by_name = {k.name: k for k in knobs}
    try:
        return tuple(by_name[name] for name in TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise UserError(must(WHERE, "free of conditions in a circle", circle), WHERE) from None


def _read_knob(name: str, entry: Any) -> Knob:
    where = f"{WHERE}.{name}"
    if not isinstance(entry, Mapping):
        raise UserError(must(where, "a mapping such as {uniform: [0, 1]}", entry), where)
    rest = {str(k): v for k, v in entry.items()}
    to, when = rest.pop("to", name), rest.pop("when", {})
    targets = [to] if isinstance(to, str) else to
    if not isinstance(targets, list) or not targets or not all(isinstance(t, str) for t in targets):
        raise UserError(must(f"{where}.to", "a list of dotted config keys", to), f"{where}.to")
    if not isinstance(when, Mapping):
        rule = "a mapping of keys to values such as {optimizer.class_path: [SGD]}"
        raise UserError(must(f"{where}.when", rule, when), f"{where}.when")
    conditions = {str(k): tuple(v) if isinstance(v, list) else (v,) for k, v in when.items()}
    for key, wanted in conditions.items():
        if not wanted:
            raise UserError(must(f"{where}.when.{key}", "a value or a list of them", []), where)
    return Knob(name, tuple(full_key(t) for t in targets), parse(rest, where), conditions)


def _full_conditions(
    knob: Knob, knobs: Sequence[Knob], base: Mapping[str, Any]
) -> dict[str, tuple[Any, ...]]:
    """A knob's conditions by full config keys, each known to the space or to the config.

    A knob's name becomes its first target: a condition then still has a meaning when that knob
    does not vary.
    """
    where = f"{knob.where}.when"
    first_target = {k.name: k.targets[0] for k in knobs}
    full = {}
    for written, wanted in knob.when.items():
        key = first_target.get(written) or full_key(written)
        deciding = [k for k in knobs if k.sets(key)]
        if not deciding and get_key(base, key, _MISSING) is _MISSING:
            raise unknown(where, written, [*first_target, *flatten(dict(base))], where)
        if not all(isinstance(k.draws, (Choice, RandInt)) for k in deciding):
            rule = "a condition on a `choice`, `grid` or `randint` knob"
            raise UserError(must(where, rule, written), where)
        full[key] = wanted
    return full


def _check_targets(knobs: Sequence[Knob]) -> None:
    """Two knobs may set one key only where their conditions exclude each other."""
    for a, b in itertools.combinations(knobs, 2):
        shared = set(a.targets) & set(b.targets)
        apart = any(
            not any(accepts(key, b.when[key], w) for w in a.when[key])
            for key in a.when
            if key in b.when
        )
        if shared and not apart:
            rule = f"the only knob of `{sorted(shared)[0]}`, unless `when` keeps them apart,"
            raise UserError(must(b.where, rule, f"a second one beside {a.name}"), b.where)

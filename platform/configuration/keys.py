"""Dotted keys over a config's plain data: normalise, set, get, flatten. Pure functions, no torch.

A section with a class (`model`, `data`, `optimizer`, `lr_scheduler`) is `{class_path, init_args}`;
everywhere a user may leave `init_args` out, and may write a class by its catalog name.
"""

from __future__ import annotations

import copy
from typing import Any

from ..errors import UserError, must

CLASS_SECTIONS = ("model", "data", "optimizer", "lr_scheduler")
OPTIONAL_SECTIONS = ("lr_scheduler",)  # of them, those that may be empty
NO_CLASS = ("none", "null")  # how that is written where a class's name could stand
CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")


def full_key(key: str) -> str:
    """The key with `init_args` put in: `optimizer.lr` -> `optimizer.init_args.lr`."""
    section, dot, rest = key.partition(".")
    if section not in CLASS_SECTIONS or not dot:
        return key
    return key if rest.partition(".")[0] in CLASS_KEYS else f"{section}.init_args.{rest}"


def short_key(key: str) -> str:
    """The key as a user writes it, without `init_args`."""
    return key.replace(".init_args.", ".")


def canonical(values: dict[str, Any]) -> dict[str, Any]:
    """A copy in which every class section has `class_path` and `init_args`.

    A section of ours or of the trainer whose keys are all commented out is null: it is left out.
    A class section that may be empty is null where it says `none`.
    """
    values = copy.deepcopy(values)
    for section in ("trainer", "launch", "tracking", "sweep"):
        if section in values and values[section] is None:
            del values[section]
    for section in CLASS_SECTIONS:
        given = values.get(section)
        if section in OPTIONAL_SECTIONS and NO_CLASS[0] in (given, get_key(given, "class_path")):
            values[section] = None
        elif isinstance(given, str):
            values[section] = {"class_path": given}
        elif isinstance(given, dict):
            loose = {k: given.pop(k) for k in list(given) if k not in CLASS_KEYS}
            if loose:
                given["init_args"] = {**(given.get("init_args") or {}), **loose}
    return values


def get_key(values: Any, key: str, default: Any = None) -> Any:
    """The value at a dotted key; a number indexes a list."""
    for part in key.split("."):
        if isinstance(values, dict) and part in values:
            values = values[part]
        elif isinstance(values, (list, tuple)) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            return default
    return values


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key in place, making mappings on the way.

    Raises:
        UserError: The key walks through a value that is no mapping, or past a list's end.
    """
    here: Any = values
    parts = key.split(".")
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(here, list):
            if not part.isdigit() or int(part) >= len(here):
                rule = f"an index from 0 to {len(here) - 1}"
                raise UserError(must(short_key(".".join(parts[: depth + 1])), rule, part))
            slot: Any = int(part)
        elif isinstance(here, dict):
            slot = part
        else:
            raise UserError(must(short_key(".".join(parts[:depth])), "a mapping", here))
        if last:
            here[slot] = value
        elif isinstance(here, dict) and here.get(slot) is None:
            here[slot] = {}
        here = here[slot]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every leaf by its dotted key; lists are leaves, empty mappings vanish."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten(value, f"{dotted}.")
        else:
            flat[dotted] = value
    return flat


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """`base` with `top` laid over it, key by key; lists and scalars are replaced."""
    merged = copy.deepcopy(base)
    for key, value in top.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged

"""Our one sentence for each of the parser's messages, which list every attempt of every union."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import UserError, must, unknown
from .classes import argument_names, load_class, type_without_null
from .keys import CLASS_SECTIONS, get_key

Where = Callable[[str], str]


def explain(message: str, values: dict[str, Any], where: Where, keys: Iterable[str]) -> UserError:
    """The error to raise for one of jsonargparse's messages.

    Args:
        message: What jsonargparse says.
        values: The config that it was given.
        where: Function from a dotted key to the place where the user wrote it.
        keys: Every key outside the classes.
    """
    section = next(iter(re.findall(r'Parser key "([\w.]+)"', message)), "")
    if found := re.search(r"[Oo]ption '([^']+)' is not accepted", message):
        return _unknown_key(message, section, found[1], values, where, keys)
    if found := re.search(r"Group '([^']+)' does not accept option '([^']+)'", message):
        valid = [k.partition(".")[2] for k in keys if k.startswith(f"{found[1]}.")]
        key = f"{found[1]}.{found[2]}"
        return unknown(found[1] + " key", found[2], valid, where(key))
    if found := re.search(
        r"arguments? (?:are|is) required: ([\w., ]+)|[Kk]ey \"([\w.]+)\" is required", message
    ):
        name = found[1] or found[2]
        name = f"{section}.{name}" if section else name
        return UserError(f"`{name}` must be given, but is missing.", where(section or name))
    refused = re.search(r"Import path (\S+) does not correspond to a subclass of (\w+)", message)
    if (found := refused) and "Problem with given class_path" not in message:
        key = f"{section}.class_path"
        return UserError(must(key, f"a subclass of {found[2]}", found[1]), where(key))
    if found := re.search(r"No module named '([^']+)'", message):
        return UserError(must(section, "a class that can be imported", found[1]), where(section))
    if found := re.search(r"Key must be a string, got: (.*?)\.?$", message, re.M):
        return UserError(must("config key", "a word", found[1]), where(""))
    return _wrong_type(message, section, values, where)


def _unknown_key(
    message: str, section: str, name: str, values: dict[str, Any], where: Where, keys: Iterable[str]
) -> UserError:
    if section not in CLASS_SECTIONS:
        error = unknown("config key", name, {k.partition(".")[0] for k in keys}, where(name))
        error.remedy += " (what code of a LightningCLI subclass adds is not known here)"
        return error
    key = _key(message, section)
    spec = get_key(values, key)
    if not isinstance(spec, dict) or "class_path" not in spec:  # tried as a class and refused
        return _wrong_type(message, section, values, where)
    path = re.findall(r"Problem with given class_path '([^']+)'", message)[-1]
    valid = argument_names(load_class(path, f"{key}.class_path"))
    place = where(f"{key}.init_args.{name}")
    return unknown(f"argument of {path.rpartition('.')[2]}", name, valid, place)


def _wrong_type(message: str, section: str, values: dict[str, Any], where: Where) -> UserError:
    key = _key(message, section)
    value = get_key(values, key)
    tail = message.rpartition("Parser key")[2]
    rule = _rule(tail)
    if section in CLASS_SECTIONS and key.count(".init_args.") == 1:  # the parser adds null itself
        kind = load_class(values[section]["class_path"], f"{section}.class_path")
        if type_without_null(kind, key.rpartition(".")[2]):
            rule = rule.removesuffix(" or null")
    name = key.replace(".init_args.", ".")
    inner = re.search(r"Expected an? <class '[\w.]+'>\. Got value: (.*)", tail)
    if rule and inner and "Subtypes: [" not in tail and inner[1] != str(value):
        return UserError(must(name, f"made of values {rule}", value), where(key))
    if rule:
        return UserError(must(name, rule, value), where(key))
    return UserError(must(name, "a valid value", value), where(key), _last_line(message))


def _key(message: str, section: str) -> str:
    """The full dotted key that a message is about, which names the keys on the way to it."""
    first, *inner = re.findall(r'Parser key "([\w.]+)"', message) or [section]
    return ".init_args.".join([first, *inner])


def _rule(tail: str) -> str:
    """What must hold, from the part of a message that is about the innermost key."""
    if found := re.search(r"Expected a tuple with (\d+) elements", tail):
        return f"a list of {found[1]} values"
    if found := re.search(r"^\s*Subtypes: \[(.*)\]$", tail, re.M):
        kinds = [_plain_type(kind) for kind in _split(found[1])]
    else:
        kinds = [_plain_type(k) for k in re.findall(r"Expected an? (<class '[\w.]+'>)", tail)]
        kinds += [_plain_type(k) for k in re.findall(r"Expected a (typing\.\w+\[.*\])", tail)]
    literals = ", ".join(k.removeprefix("one of ") for k in kinds if k.startswith("one of "))
    types = dict.fromkeys(k for k in kinds if k != "null" and not k.startswith("one of "))
    parts = [f"one of {literals}"] * bool(literals) + ["of type " + " or ".join(types)] * bool(
        types
    )
    return " or ".join(parts + ["null"] * ("null" in kinds and bool(parts)))


def _plain_type(text: str) -> str:
    """A type as jsonargparse prints it, without `typing`, `<class ...>` and module names."""
    if found := re.fullmatch(r"typing\.Literal\[(.*)\]", text):
        return f"one of {found[1]}"
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text)
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", text).replace("NoneType", "null")


def _split(text: str) -> list[str]:
    """The items of a list of types; commas inside brackets do not part them."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if sign == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part.strip() for part in [*parts, text[start:]]]


def _last_line(message: str) -> str:
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""

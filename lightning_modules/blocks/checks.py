"""One grammar for what is wrong with a value: "`name` must be RULE, but is VALUE."."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def require(holds: bool, name: str, rule: str, value: object, remedy: str = "") -> None:
    """Raise unless a rule holds.

    Args:
        holds: Whether it does. Write it so that NaN fails: `0 <= x < 1`, never `not x < 0`.
        name: The argument as the caller knows it.
        rule: What must hold, to be read after "must be".
        value: What was given.
        remedy: What to do; it travels as a note of the exception.

    Raises:
        ValueError: If the rule does not hold.
    """
    if holds:
        return
    error = ValueError(f"`{name}` must be {rule}, but is {value!r}.")
    if remedy:
        error.add_note(remedy)
    raise error


def require_one_of(name: str, value: object, valid: Iterable[str]) -> None:
    """Raise unless `value` is one of the `valid` names; the nearest one is suggested.

    Raises:
        ValueError: If it is another name.
    """
    valid = list(valid)
    close = difflib.get_close_matches(str(value), valid, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else ""
    require(value in valid, name, f"one of {', '.join(valid)}", value, remedy)

"""Checks of arguments that data modules share, in one grammar of messages."""

from __future__ import annotations

from collections.abc import Sequence


def wrong(name: str, rule: str, value: object, remedy: str = "") -> ValueError:
    """The error "`name` must be RULE, but is VALUE.", its remedy attached as a note."""
    error = ValueError(f"`{name}` must be {rule}, but is {value!r}.")
    if remedy:
        error.add_note(remedy)
    return error


def whole_number(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` when it is a whole number in [low, high].

    Raises:
        ValueError: It is of another type (a bool is no number here) or outside the range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(name, "a whole number", value)
    if value < low or (high is not None and value > high):
        upper = "" if high is None else f" and at most {high}"
        raise wrong(name, f"a whole number of at least {low}{upper}", value)
    return value


def drawn(num_samples: object, generator_seed: object, fewest: int = 10) -> tuple[int, int]:
    """Return how many samples a set draws and from which seed, when both are whole numbers.

    Args:
        num_samples: From `fewest` to ten million.
        generator_seed: At least 0.
        fewest: Of which the splits are not empty.

    Raises:
        ValueError: One of them is not.
    """
    count = whole_number("num_samples", num_samples, fewest, 10_000_000)
    return count, whole_number("generator_seed", generator_seed, 0)


def one_of(name: str, value: object, valid: Sequence[str]) -> str:
    """Return `value` when it is one of the valid names.

    Raises:
        ValueError: It is not; the note lists the valid names.
    """
    if not isinstance(value, str) or value not in valid:
        raise wrong(name, "a known name", value, f"valid names are: {', '.join(valid)}")
    return value

"""Where a config's keys were written, for messages: a line of the file, or what lies over it."""

from __future__ import annotations

from collections.abc import Mapping

from .keys import short_key


def nearest_place(key: str, origins: Mapping[str, str], lines: Mapping[str, int]) -> str | int:
    """The flag (or other origin) or the line that decides over a key.

    Args:
        key: Full dotted key.
        origins: Key -> what was laid over the file there.
        lines: Key, as the file spells it -> line.

    Returns:
        An origin, a line, or an empty text when the key and all above it are nowhere.
    """
    parts = key.split(".")
    upwards = [".".join(parts[:depth]) for depth in range(len(parts), 0, -1)]
    below = [origin for name, origin in origins.items() if name.startswith(f"{key}.")]
    if key not in origins and below:  # one item of a list, the class of a section
        return below[-1]
    for name in upwards:  # what was laid over a section replaced all that stood in it
        if name in origins:
            return origins[name]
    for name in upwards:
        for spelled in (name, short_key(name)):
            if spelled in lines:
                return lines[spelled]
    return ""


def leaves(lines: Mapping[str, int]) -> dict[str, int]:
    """The keys with nothing below them."""
    inner = {key.rpartition(".")[0] for key in lines}
    return {key: line for key, line in lines.items() if key not in inner}

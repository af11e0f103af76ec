"""What `paceline clean` tells a person: a line for each sweep, the sum last."""

from __future__ import annotations

from collections.abc import Sequence

from ...platform.tables import columns, format_bytes
from .clean import Cleaned


def told(found: Sequence[Cleaned], *, dry_run: bool) -> str:
    """Bytes and files of each sweep, what was kept, and what was refused."""
    if not found:
        return "There is no sweep to clean."
    lines = columns([_line(one) for one in found if not one.refused] or [[""]], "<<><")
    lines += [f"{one.name} was left as it is: {one.refused}" for one in found if one.refused]
    files, size = sum(len(one.removed) for one in found), sum(one.bytes for one in found)
    verb = "would be freed" if dry_run else "freed"
    return "\n".join([*filter(None, lines), f"{format_bytes(size)} in {files} files {verb}"])


def _line(one: Cleaned) -> list[str]:
    kept = f"best of {', '.join(one.kept)} kept" if one.kept else "no trial has a score"
    living = f"; {len(one.living)} may go on, untouched" if one.living else ""
    return [one.name, one.status, format_bytes(one.bytes), kept + living]

"""Plain columns and sizes for what a person reads: a name that one copies is never cut."""

from __future__ import annotations

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], right: str = "") -> list[str]:
    """Lines in which the cells of each column stand under each other.

    Args:
        rows: Cells, as many in each row.
        right: Of each column `>` where it is set flush right; left where that is shorter.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    marks = right.ljust(len(widths), "<")
    return [
        "  ".join(
            f"{cell:{mark}{width}}" for cell, mark, width in zip(row, marks, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def format_bytes(count: int) -> str:
    """A size as `0 B`, `12.4 MB` or `3.1 GB`, in powers of a thousand as disks are sold."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"

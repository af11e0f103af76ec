"""Tables and sizes for a person: lines and colours on a terminal, plain columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> str:
    """The table as text; a last row whose first cell is `total` is set apart.

    Args:
        header: Titles of the columns.
        rows: Cells, as many in each row.
        right: Of each column `>` where it is set flush right; left where that is shorter.
    """
    if not sys.stdout.isatty():
        return "\n".join(columns([header, *rows], right))
    from rich import box  # takes a while to import
    from rich.console import Console
    from rich.table import Table

    marks = right.ljust(len(header), "<")
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, mark in zip(header, marks, strict=True):
        drawn.add_column(title, justify="right" if mark == ">" else "left", overflow="fold")
    for row in rows:
        is_total = row[0] == "total"
        if is_total:
            drawn.add_section()
        drawn.add_row(*map(_plain, row), style="bold" if is_total else None)
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip("\n")


def columns(rows: Sequence[Sequence[str]], right: str = "") -> list[str]:
    """Lines in which the cells of each column stand under each other; nothing is cut.

    Args:
        rows: Cells, as many in each row.
        right: As in `table`.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    marks = right.ljust(len(widths), "<")
    return [
        "  ".join(
            f"{cell:{mark}{width}}" for cell, mark, width in zip(row, marks, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _plain(cell: str) -> str:
    return cell.replace("[", r"\[")  # rich would take a shape for markup


def format_bytes(count: int) -> str:
    """A size as `0 B`, `12.4 kB` or `3.1 GB`, in powers of a thousand."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"

"""What `paceline compare` tells a person: one column for each sweep or run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...platform.tables import columns
from ..table import format_seconds, format_value
from .compare import Comparison
from .contender import Contender

MAX_WIDTH = 40  # of a value; a space of many options is longer


def side_by_side(found: Comparison) -> str:
    """The whole comparison, the verdict last."""
    names = [one.name for one in found.contenders]
    table = [["", *names], *_facts(found.contenders)]
    for epochs, best in found.at_epochs.items():
        table.append([f"best at {epochs} epochs", *_cells(best, names)])
    for title, rows in (
        ("settings of the best that differ", found.settings),
        ("spaces that differ", found.spaces),
    ):
        if rows:
            table += [[""] * (len(names) + 1), [f"{title}:", *[""] * len(names)]]
            table += [[f"  {key}", *_cells(row, names)] for key, row in rows.items()]
    return "\n".join([*columns(table), "", found.verdict.text])


def _facts(contenders: Sequence[Contender]) -> list[list[str]]:
    def row(title: str, tell: Callable[[Contender], str]) -> list[str]:
        return [title, *(tell(one) for one in contenders)]

    return [
        row("kind", lambda one: one.standing.kind),
        row("status", lambda one: one.standing.status),
        row("metric", lambda one: f"{one.standing.metric or '-'} ({one.mode})"),
        row("best", _score),
        row("best trial", lambda one: one.standing.best_trial or "-"),
        row("trials", _trials),
        row("epochs", lambda one: format_value(one.standing.epochs)),
        row("time", lambda one: _time(one.standing.seconds)),
    ]


def _trials(one: Contender) -> str:
    over, total = one.standing.over, one.standing.total
    return format_value(total) if over == total else f"{over} of {total}"


def _score(one: Contender) -> str:
    half_width = "" if one.interval is None else f" +- {one.interval:.2g}"
    return format_value(one.standing.best) + half_width


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else format_seconds(seconds)


def _cells(row: Mapping[str, Any], names: list[str]) -> list[str]:
    texts = [format_value(row.get(name)) for name in names]
    return [text if len(text) <= MAX_WIDTH else f"{text[: MAX_WIDTH - 3]}..." for text in texts]

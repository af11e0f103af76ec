"""A sweep while it runs: a table that lives on a terminal, one plain line a trial elsewhere.

Everything goes to standard error, so that `--json` has standard output for itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .rows import Rows, TrialRow

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

MAX_ROWS = 24
MAX_KNOB_WIDTH = 16
_STYLES = {"running": "cyan", "failed": "red", "killed": "yellow", "pending": "dim"}


class LiveTable:
    """Shows the trials from `__enter__` to `__exit__`.

    Args:
        rows: The trials; the table reads them when it draws.
        total: How many trials there will be at most.
        width: How many run at a time.
        every_s: A terminal is redrawn at most this often.
    """

    def __init__(self, rows: Rows, total: int, width: int, every_s: float = 0.25):
        from ..platform.progress import console  # it imports Lightning

        self.rows, self.total, self.width, self.every_s = rows, total, width, every_s
        self.console = console()
        self._live: Live | None = None
        self._drawn_at = 0.0
        self._told: set[int] = set()

    def __enter__(self) -> LiveTable:
        """Open the table on a terminal."""
        if self.console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def refresh(self) -> None:
        """Draw what is new, when it is time."""
        if self._live is None:
            self._tell_ended()
        elif (now := time.monotonic()) - self._drawn_at >= self.every_s:
            self._drawn_at = now
            self._draw(self._live)

    def _draw(self, live: Live) -> None:
        footer = progress(self.rows, self.total, self.width)
        live.update(trials_table(self.rows, footer=footer, width=self.console.width))
        live.refresh()

    def _tell_ended(self) -> None:
        for row in self.rows:
            if row.is_over and row.number not in self._told:
                self._told.add(row.number)
                line = f"{trial_line(row, self.rows)}  ({len(self._told)}/{self.total})"
                self.console.print(line, soft_wrap=True, markup=False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell what ended last; on a terminal the answer shows the table once more, for good."""
        if self._live is None:
            self._tell_ended()
        else:
            self._draw(self._live)
            self._live.stop()


def trials_table(rows: Rows, limit: int = MAX_ROWS, footer: str = "", width: int = 120) -> Table:
    """The trials as a table, the best marked, columns for the knobs that vary.

    Args:
        rows: The trials.
        limit: At most this many; the living and the best come first.
        footer: A line below.
        width: Characters that a line has; knobs that do not fit are left out.
    """
    from rich.table import Table

    best, shown = rows.best(), shown_rows(rows, limit)
    copied = any(row.copies for row in shown)
    knobs = fitting_knobs(shown, width - len(rows.metric) - 32 - 9 * copied)
    table = Table(caption=footer, caption_justify="left", pad_edge=False, box=None)
    for title in ("trial", "status", "epoch", rows.metric):
        justify = "left" if title in ("trial", "status") else "right"
        table.add_column(title, justify=justify, no_wrap=True)
    if copied:
        table.add_column("copied", no_wrap=True)
    for name in knobs:
        table.add_column(name, max_width=MAX_KNOB_WIDTH, overflow="ellipsis", no_wrap=True)
    for row in shown:
        is_best = row is best
        style = "bold green" if is_best else _STYLES.get(row.status, "")
        mark, epoch = "*" if is_best else " ", str(row.epoch or "-")
        cells = [f"{mark}{row.trial_id}", status_word(row), epoch, format_value(row.score)]
        cells += [_copied(row)] * copied
        cells += [format_value(row.values[k]) if k in row.values else "" for k in knobs]
        table.add_row(*cells, style=style)
    return table


def _copied(row: TrialRow) -> str:
    """Whose weights a member of a population took last, and at which rung."""
    return f"{row.copies[-1].donor:03d} @{row.copies[-1].rung:g}" if row.copies else ""


def fitting_knobs(rows: Sequence[TrialRow], width: int) -> list[str]:
    """The first knobs whose columns fit in a width; the rest stands in the record."""
    fitting = []
    for name in dict.fromkeys(name for row in rows for name in row.values):
        values = [format_value(row.values[name]) for row in rows if name in row.values]
        width -= min(MAX_KNOB_WIDTH, max(len(text) for text in [name, *values])) + 1
        if width < 0:
            break
        fitting.append(name)
    return fitting


def shown_rows(rows: Rows, limit: int) -> list[TrialRow]:
    """At most `limit` trials in their order: the living first, then the best, then the newest."""
    best = rows.best()
    ordered = sorted(rows, key=lambda r: (r.is_over, r is not best, -r.number))
    return sorted(ordered[:limit], key=lambda r: r.number)


def trial_line(row: TrialRow, rows: Rows) -> str:
    """One ended trial in a line."""
    knobs = " ".join(f"{name}={format_value(value)}" for name, value in row.values.items())
    mark = "  best so far" if row is rows.best() else ""
    told = row.error if row.status == "failed" else f"{rows.metric} {format_value(row.score)}"
    return (
        f"trial {row.trial_id} {status_word(row)} after {row.epoch} epochs"
        f" in {row.seconds:.1f} s  {told}{mark}  {knobs}"
    )


def status_word(row: TrialRow) -> str:
    """A trial's status as a person reads it: why it stopped, when that is not that it was done."""
    if row.status == "finished" and row.stop_reason != "completed":
        return {"early_stopped": "stopped", "budget": "budget"}.get(row.stop_reason, "finished")
    return row.status


def progress(rows: Rows, total: int, width: int) -> str:
    """How far the sweep is and when it will be done, in one line."""
    over = sum(row.is_over for row in rows)
    words = [f"{over}/{total} trials", f"{rows.epochs} epochs"]
    if failed := rows.count("failed"):
        words.append(f"{failed} failed")
    if (left := eta_s(rows, total, width)) is not None:
        words.append(f"about {format_seconds(left)} left")
    return " | ".join(words)


def eta_s(rows: Rows, total: int, width: int) -> float | None:
    """Seconds until the last trial is over, if those to come take as long as those that are.

    None while no trial is over, and when all are.
    """
    seconds = [row.seconds for row in rows if row.is_over and row.begun_at is not None]
    left = total - sum(row.is_over for row in rows)
    if not seconds or left <= 0:
        return None
    spent = sum(row.seconds for row in rows if row.status == "running")
    return max(0.0, left * sum(seconds) / len(seconds) - spent) / max(1, width)


def format_seconds(seconds: float) -> str:
    """Seconds as `42 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_value(value: Any) -> str:
    """A knob's or a metric's value, four significant digits."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)

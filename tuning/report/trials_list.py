"""The page's table of all trials: sorted by a click, marked in every chart, linked to MLflow."""

from __future__ import annotations

from typing import Any

from ..rows import Rows, TrialRow
from ..table import format_seconds, format_value
from .markup import EMPTY, Markup, join, safe_link, tag
from .ranking import FATES, fate
from .scales import is_number, knob_axes
from .sweep_report import SweepReport

MAX_METRICS = 6


def trials_section(report: SweepReport) -> Markup:
    """The table; the best trial is marked, and a failed one tells its error."""
    rows = report.rows
    if not len(rows):
        return EMPTY
    metrics, knobs = _other_metrics(report), list(knob_axes(rows, report.space))
    titles = ["trial", "status", "epoch", rows.metric, *metrics, "time", *knobs]
    numeric = {"epoch", rows.metric, *metrics, "time"}
    numeric |= {n for n in knobs if all(is_number(r.values[n]) for r in rows if n in r.values)}
    head = [
        tag(
            "th", tag("button", t, type="button"), scope="col", class_="n" if t in numeric else None
        )
        for t in titles
    ]
    best = rows.best()
    lines = [_line(report, row, metrics, knobs, is_best=row is best) for row in _best_first(rows)]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *lines), class_="list trials")
    told = (
        "Click a title to sort, a row to mark that trial in every chart; numbers link to MLflow."
        if report.links
        else "Click a title to sort, a row to mark that trial in every chart."
    )
    return tag(
        "section",
        tag("h2", "Trials ", tag("small", class_="selection")),
        tag("p", told, class_="note"),
        tag("div", table, class_="scroll tall"),
        class_="card",
    )


def _best_first(rows: Rows) -> list[TrialRow]:
    sign = 1 if rows.mode == "min" else -1
    return sorted(rows, key=lambda row: (row.score is None, sign * (row.score or 0), row.number))


def _other_metrics(report: SweepReport) -> list[str]:
    """Objectives, then metrics of the validation, beside the deciding one."""
    known = dict.fromkeys(name for row in report.rows for name in row.metrics)
    chosen = [*report.objectives, *(name for name in known if name.startswith(("val/", "eval/")))]
    chosen += [name for name in known if name not in chosen]
    return [n for n in dict.fromkeys(chosen) if n not in (report.rows.metric, "seconds")][
        :MAX_METRICS
    ]


def _line(
    report: SweepReport, row: TrialRow, metrics: list[str], knobs: list[str], *, is_best: bool
) -> Markup:
    word = fate(row)
    shown = tag("span", FATES[word], class_=f"status {word}", title=row.error or row.detail or None)
    cells = [
        _cell(row.number, safe_link(row.trial_id, report.links.get(row.run_id, ""))),
        _cell(word, shown),
        _cell(row.epoch),
        _cell(row.score),
        *(_cell(row.value_of(name)) for name in metrics),
        _cell(round(row.seconds, 1), format_seconds(row.seconds)),
        *(_cell(row.values[name]) if name in row.values else tag("td") for name in knobs),
    ]
    return tag("tr", join(*cells), class_="best" if is_best else None, data_t=row.number)


def _cell(value: Any, shown: str | Markup | None = None) -> Markup:
    """A cell; what it is sorted by stands beside where the text is another."""
    if value is None:
        return tag("td")
    text = format_value(value) if shown is None else shown
    sorted_by = f"{value:.6g}" if is_number(value) and text != f"{value:.6g}" else None
    return tag("td", text, data_v=sorted_by, class_="n" if is_number(value) else None)

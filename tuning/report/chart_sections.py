"""The sections of the page that hold charts: what came when, and what went with what."""

from __future__ import annotations

from ..table import format_value
from .cards import card
from .charts import best_so_far, front_chart, learning_curves, level, slices
from .findings import Findings
from .markup import EMPTY, Markup, join, tag
from .parallel import parallel
from .rungs import rungs_of, stage, stage_names
from .scales import knob_axes
from .sweep_report import SweepReport


def charts_section(report: SweepReport) -> Markup:
    """Best so far and learning curves; nothing before the first validation."""
    if not any(row.history for row in report.rows):
        return EMPTY
    if report.rows.best() is None:
        return card("Learning curves", tag("p", "No validation gave a finite score."))
    by_time, by_epochs = (best_so_far(report, by_time=flag) for flag in (True, False))
    dots = "The line is the best score so far, a point each trial's best; a ring was stopped early."
    told = "Coloured by the last rung that a trial came to; rungs are the dotted lines."
    has_rungs = bool(rungs_of(report.rows, report.rungs))
    return join(
        card("Best so far", tag("div", by_time, by_epochs, class_="two"), told=dots),
        card(
            "Learning curves",
            tag("div", learning_curves(report), class_="scroll"),
            _stages(report) if has_rungs else tag("p", *_marks(), class_="legend"),
            told=told if has_rungs else "",
        ),
    )


def _marks() -> list[Markup]:
    """The legend of the marks of trials."""
    names = {"best": "the best trial", "good": "the best quarter", "other": "the others"}
    return [tag("span", tag("i", class_=f"swatch {m}"), name) for m, name in names.items()]


def _stages(report: SweepReport) -> Markup:
    """The legend of the learning curves: how many trials came how far."""
    rungs = rungs_of(report.rows, report.rungs)
    stages = [stage(row, rungs) for row in report.rows if row.history]
    names = stage_names(rungs, report.time_axis)
    levels: dict[int, list[int]] = {}
    for index in sorted(set(stages)):
        levels.setdefault(level(index, rungs), []).append(index)
    parts = []
    for colour, indices in levels.items():
        first, last = names[indices[0]], names[indices[-1]]
        name = first if first == last else f"{first} … {last}"
        count = sum(stages.count(index) for index in indices)
        parts.append(tag("span", tag("i", class_=f"swatch r{colour}"), f"{name} ({count})"))
    parts.append(tag("span", tag("i", class_="swatch best"), "the best trial"))
    return tag("p", *parts, class_="legend")


def parallel_section(report: SweepReport) -> Markup:
    """Parallel coordinates, as soon as a trial has a score."""
    if report.rows.best() is None or not knob_axes(report.rows, report.space):
        return EMPTY
    legend = tag("p", *_marks(), tag("span", class_="selection"), class_="legend")
    told = (
        "Drag along an axis to keep the trials that pass there, in all charts and the table; "
        "click the axis to let go. Lines below an axis are trials without that knob."
    )
    return card(
        "Parallel coordinates", tag("div", parallel(report), class_="scroll"), legend, told=told
    )


def front_section(findings: Findings) -> Markup:
    """The Pareto front, where there are objectives."""
    report, points = findings.report, [*findings.points]
    if not report.objectives:
        return EMPTY
    if not points:
        return card("Pareto front", tag("p", "No ended trial has a value for every objective yet."))
    names = list(report.modes)
    charts = [front_chart(report, points, i) for i in range(1, len(names))]
    head = tag(
        "tr", tag("th", "trial"), *(tag("th", f"{n} ({m})") for n, m in report.modes.items())
    )
    members = sorted((p for p in points if p.is_on_front), key=lambda p: p.values[0])
    lines = [
        tag(
            "tr",
            tag("td", f"{p.number:03d}"),
            *(tag("td", format_value(v)) for v in p.values),
            data_t=p.number,
        )
        for p in members
    ]
    table = tag("div", tag("table", head, *lines, class_="list"), class_="scroll short")
    told = f"{len(members)} of {len(points)} ended trials are beaten by no other in all of: "
    return card(
        "Pareto front",
        tag("div", *charts, table, class_="two"),
        told=told + ", ".join(f"{name} ({mode})" for name, mode in report.modes.items()) + ".",
    )


def slices_section(findings: Findings) -> Markup:
    """The score over each knob, the knobs that decide most first."""
    report = findings.report
    if report.rows.best() is None:
        return EMPTY
    charts = slices(report)
    order = [k.knob for k in findings.importances.knobs if k.knob in charts]
    order += [name for name in charts if name not in order]
    panels = [tag("figure", tag("figcaption", name), charts[name]) for name in order]
    told = f"{report.rows.metric} of every trial over the value of each knob."
    return card("Knob by knob", tag("div", *panels, class_="panels"), told=told)

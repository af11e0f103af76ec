"""The page's charts in SVG: the best so far, learning curves, slices, the Pareto front. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..rows import Rows, TrialRow
from .frames import Frame, number, path, thinned
from .markup import Markup, tag
from .pareto import Point
from .progress import Spent, improvements, spent, when_done
from .ranking import best_quarter, fate
from .rungs import rungs_of, stage
from .scales import Axis, Numbers, knob_axes, padded, score_axis, spanning, time_unit
from .sweep_report import SweepReport

Place = tuple[float | None, float | None]
LEVELS = 6  # colours between the trials that were stopped first and those trained out


def level(stage: int, rungs: Sequence[float]) -> int:
    """The colour of a stage, from 0 to `LEVELS - 1`; hardly any trial ends before a rung."""
    return round((LEVELS - 1) * max(0, stage - 1) / len(rungs))


def marks(rows: Rows) -> dict[int, str]:
    """Trial number -> `best`, `good` (of the best quarter) or `other`, by which it is coloured."""
    best, good = rows.best(), {row.number for row in best_quarter(rows)}
    found = {row.number: "good" if row.number in good else "other" for row in rows}
    return found if best is None else {**found, best.number: "best"}


def back_to_front(rows: Rows) -> list[TrialRow]:
    """The trials in the order in which they are drawn: the best one above all others."""
    kinds = marks(rows)
    return sorted(rows, key=lambda row: ("other", "good", "best").index(kinds[row.number]))


def scores(rows: Rows) -> Axis:
    """The axis of the trials' scores."""
    return score_axis((row.score for row in rows if row.score is not None), rows.mode)


def best_so_far(report: SweepReport, *, by_time: bool) -> Markup:
    """The best score over what had been spent, above a point for each trial."""
    rows, end = report.rows, spent(report.rows)
    divisor, unit = time_unit(end.seconds) if by_time else (1.0, "")

    def along(what: Spent) -> float:
        return what.seconds / divisor if by_time else what.epochs

    label = f"wall time ({unit})" if by_time else "epochs of all trials"
    frame = Frame(Numbers(0.0, along(end) or 1.0), scores(rows))
    kinds, steps = marks(rows), improvements(rows)
    costs = [along(Spent(step.epochs, step.seconds)) for step in steps]
    points = [(frame.at_x(c), frame.at_y(s.score)) for c, s in zip(costs, steps, strict=True)]
    line = stairs([*points, *((frame.at_x(along(end)), y) for _, y in points[-1:])])
    done = when_done(rows)
    dots = [
        dot(frame.at_x(along(done[row.number])), frame.at_y(row.score), row, kinds)
        for row in back_to_front(rows)
        if row.number in done
    ]
    name = "time" if by_time else "epochs"
    content = frame.clip(f"clip-best-{name}", *dots, tag("path", class_="best-line", d=path(line)))
    told = f"Best {rows.metric} so far by {label}"
    return frame.svg(told, frame.axes(label, rows.metric), content)


def dot(x: float | None, y: float | None, row: TrialRow, kinds: dict[int, str]) -> Markup:
    """A trial as a point, a ring where it was stopped early."""
    kind = kinds[row.number]
    ring = " ring" if fate(row) == "stopped" else ""
    radius = 5 if kind == "best" else 3
    return tag(
        "circle", class_=kind + ring, cx=number(x), cy=number(y), r=radius, data_t=row.number
    )


def learning_curves(report: SweepReport) -> Markup:
    """Every trial's score along the time axis, coloured by how far it came."""
    rows, rungs = report.rows, rungs_of(report.rows, report.rungs)
    found = [r.score for row in rows for r in row.history]
    ends = [row.at for row in rows if row.history]
    first = min((row.history[0].at for row in rows if row.history), default=0.0)
    x = Numbers(min(first, 1.0) if len(ends) else 0.0, max([*ends, report.horizon or 0.0, 1.5]))
    frame = Frame(x, score_axis(found, rows.mode), width=1140, height=400)
    colours = curve_colours(report)
    lines = [
        tag(
            "path",
            class_=f"curve {colours[row.number]}",
            d=path((frame.at_x(r.at), frame.at_y(r.score)) for r in thinned(row.history)),
            data_t=row.number,
        )
        for row in curves_in_order(report)
    ]
    floor = frame.height - frame.bottom
    stops = [
        tag("path", class_="rung", d=f"M{number(frame.at_x(r))},{frame.top}V{floor}")
        for r in rungs[:20]
    ]
    axes = frame.axes(report.time_axis, rows.metric, x_ticks=10, y_ticks=6)
    content = frame.clip("clip-curves", *stops, *lines)
    return frame.svg(f"{rows.metric} of every trial", axes, content, class_="chart wide")


def curves_in_order(report: SweepReport) -> list[TrialRow]:
    """Trials with a curve in the order of drawing: who came furthest above, the best on top."""
    best, rungs = report.rows.best(), rungs_of(report.rows, report.rungs)
    order = back_to_front(report.rows)
    order.sort(key=lambda row: (row is best, stage(row, rungs) if rungs else 0))
    return [row for row in order if row.history]


def curve_colours(report: SweepReport) -> dict[int, str]:
    """Trial number -> the colour of its curve: `best`, `r0` to `r5`, or without rungs its mark."""
    rungs, kinds = rungs_of(report.rows, report.rungs), marks(report.rows)
    if not rungs:
        return kinds
    return {
        row.number: "best" if kinds[row.number] == "best" else f"r{level(stage(row, rungs), rungs)}"
        for row in report.rows
    }


def slices(report: SweepReport) -> dict[str, Markup]:
    """Knob -> the score of every trial over its value."""
    rows = report.rows
    y, kinds = scores(rows), marks(rows)
    order = [row for row in back_to_front(rows) if row.score is not None]
    axes = knob_axes(rows, report.space)
    return {
        name: _slice(name, axis, y, [row for row in order if name in row.values], kinds, index)
        for index, (name, axis) in enumerate(axes.items())
    }


def _slice(
    name: str, axis: Axis, y: Axis, order: list[TrialRow], kinds: dict[int, str], index: int
) -> Markup:
    frame = Frame(axis, y, width=272, height=200, left=46, bottom=38, right=12, top=10)
    room = frame.width - frame.left - frame.right
    dots = []
    for row in order:
        aside = room * jitter(axis, row.number)
        x, y_ = frame.at_x(row.values[name]), frame.at_y(row.score)
        dots.append(dot((x or 0.0) + aside, y_, row, kinds))
    content = frame.clip(f"clip-slice-{index}", *dots)
    return frame.svg(f"Score over {name}", frame.axes("", "", x_ticks=4, y_ticks=4), content)


def jitter(axis: Axis, number: int) -> float:
    """How far a trial's point is moved aside, in parts of the axis, so that none covers another."""
    if isinstance(axis, Numbers):
        return 0.0
    return 0.55 / len(axis.options) * (math.modf(number * 0.6180339887)[0] - 0.5)


def front_chart(report: SweepReport, points: list[Point], objective: int) -> Markup:
    """The deciding metric over one objective; the front of all objectives is marked.

    Args:
        report: The sweep.
        points: From `pareto`.
        objective: Position of the objective among them all, from 1.
    """
    first, (name, mode) = report.rows.metric, [*report.modes.items()][objective]
    x, y = (padded(spanning(point.values[i] for point in points)) for i in (objective, 0))
    frame = Frame(x, y)
    dots, places = [], {}
    for point in sorted(points, key=lambda p: p.is_on_front):
        at = frame.at_x(point.values[objective]), frame.at_y(point.values[0])
        places[point.number] = at
        kind, radius = ("front", 5) if point.is_on_front else ("other", 3)
        cx, cy = map(number, at)
        dots.append(tag("circle", class_=kind, r=radius, cx=cx, cy=cy, data_t=point.number))
    front = [p for p in points if p.is_on_front and len(report.modes) == 2]
    front.sort(key=lambda p: p.values[objective], reverse=mode == "max")
    line = stairs([places[p.number] for p in front])
    border = tag("path", class_="front-line", d=path(line))
    content = frame.clip(f"clip-front-{objective}", border, *dots)
    return frame.svg(f"{first} over {name}", frame.axes(name, first), content)


def stairs(points: Sequence[Place]) -> list[Place]:
    """The line that keeps its height until the next point, and goes there straight."""
    line: list[Place] = []
    for x, y in points:
        line += [(x, line[-1][1]), (x, y)] if line else [(x, y)]
    return line

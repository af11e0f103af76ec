"""Parallel coordinates: one upright axis a knob, the score last, one line a trial. Pure.

The page's script lets a reader drag along an axis to keep the trials that pass there.
"""

from __future__ import annotations

from ..rows import Rows, TrialRow
from .charts import back_to_front, marks, scores
from .frames import number, path, short
from .markup import Markup, tag
from .ranking import ended
from .scales import Axis, Numbers, knob_axes
from .sweep_report import SweepReport

WIDTH, SIDE, TOP, HEIGHT = 1000, 70, 40, 330  # units: between the outer axes, beside, above, of
ABSENT = 26  # below the axes, where the lines of trials pass that do not have the knob


def parallel(report: SweepReport) -> Markup:
    """The chart of `shown`; a trial that diverged ends at the bad end of the score."""
    rows = report.rows
    knobs = knob_axes(rows, report.space)
    score, step = scores(rows), max(92, WIDTH // max(1, len(knobs)))
    kinds = marks(rows)
    lines = [
        tag(
            "path",
            class_=f"line {kinds[row.number]}",
            d=path(_points(row, knobs, score, step, rows.mode)),
            data_t=row.number,
        )
        for row in shown(rows)
    ]
    named = [*knobs.items(), (rows.metric, score)]
    drawn = [_axis(name, axis, SIDE + i * step) for i, (name, axis) in enumerate(named)]
    width = 2 * SIDE + step * len(knobs)
    box = f"0 0 {width} {TOP + HEIGHT + ABSENT + 22}"
    return tag(
        "svg",
        *lines,
        *drawn,
        class_="parallel",
        viewBox=box,
        role="img",
        aria_label="Knobs and score of every trial",
        style=f"min-width:{len(knobs) * 78 + 120}px",
    )


def shown(rows: Rows) -> list[TrialRow]:
    """Trials with a score, and those that ended without any, in the order of drawing."""
    over = {row.number for row in ended(rows)}
    return [r for r in back_to_front(rows) if r.score is not None or r.number in over]


def _points(
    row: TrialRow, knobs: dict[str, Axis], score: Axis, step: int, mode: str
) -> list[tuple[float, float]]:
    points = [
        (SIDE + i * step, _height(axis, row.values.get(name), name in row.values))
        for i, (name, axis) in enumerate(knobs.items())
    ]
    bad_end = TOP if mode == "min" else TOP + HEIGHT
    end = bad_end if row.score is None else _height(score, row.score, True)
    return [*points, (SIDE + step * len(knobs), end)]


def _height(axis: Axis, value: object, is_there: bool) -> float:
    """Units from the top; what lies beyond an axis is drawn at its end."""
    place = axis.place(value) if is_there else None
    if place is None:
        return TOP + HEIGHT + ABSENT
    return TOP + HEIGHT * (1 - min(max(place, 0.0), 1.0))


def _axis(name: str, axis: Axis, x: int) -> Markup:
    """An axis with its ticks, and the strip along it that a reader drags on."""
    floor = TOP + HEIGHT
    ticks = axis.ticks(5) if isinstance(axis, Numbers) else axis.ticks()
    texts = [
        tag("text", short(text, 15), class_="tick", x=x + 6, y=number(_height(axis, value, True)))
        for value, text in ticks
    ]
    return tag(
        "g",
        tag("path", class_="axis", d=f"M{x},{TOP}V{floor}"),
        tag("text", short(name, 18), class_="label", x=x, y=TOP - 16),
        *texts,
        tag("rect", class_="strip", x=x - 12, y=TOP - 8, width=24, height=HEIGHT + ABSENT + 16),
        class_="dimension",
        data_x=x,
    )

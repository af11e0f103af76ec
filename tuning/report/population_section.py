"""The page's section on a population: who went on as a copy of whom, and the schedules found."""

from __future__ import annotations

from typing import Any

from ..population.lineage import ancestry
from ..rows import Rows, TrialRow
from ..table import format_value
from .cards import card
from .charts import stairs
from .frames import Frame, number, path, short
from .markup import EMPTY, Markup, join, safe_link, tag
from .scales import Axis, Numbers, Options, is_number, knob_axes
from .sweep_report import SweepReport

LANE, MAX_LANES = 26, 40  # units of height for each member; those with the best scores are drawn
Stretch = tuple[float, float, TrialRow]  # from, to, the member that was trained then


def is_population(rows: Rows) -> bool:
    """Whether trials copied each other."""
    return any(verdict.rule == "pbt" for row in rows for verdict in row.verdicts)


def population_section(report: SweepReport) -> Markup:
    """Lineage, schedules and a table of all copies; nothing for a sweep of single trials."""
    rows, best = report.rows, report.rows.best()
    if not is_population(rows) or best is None:
        return EMPTY
    panels = [
        tag("figure", tag("figcaption", name), schedule_chart(report, name, axis, index))
        for index, (name, axis) in enumerate(mutated_axes(report).items())
    ]
    return card(
        "Population",
        tag("div", lineage_chart(report), class_="scroll"),
        tag("p", *_legend(best), class_="legend"),
        tag("div", *panels, class_="panels"),
        tag("div", _table(report), class_="scroll short"),
        told=told_population(rows, best),
    )


def told_population(rows: Rows, best: TrialRow) -> str:
    """How much was copied, and where the weights of the best member come from."""
    copies = sum(len(row.copies) for row in rows)
    roots = {ancestry(row, rows)[0][1].number for row in rows if row.history}
    line = [row.trial_id for _, row in ancestry(best, rows)]
    others = " and ".join(reversed(line[:-1]))
    came = f"its weights came through {others}" if others else "it copied none"
    return (
        f"{copies} copies. What {len(rows)} members hold at the end began in {len(roots)} of them. "
        f"The best is trial {best.trial_id}: {came}."
    )


def _legend(best: TrialRow) -> list[Markup]:
    return [
        tag("span", tag("i", class_="swatch best"), f"what trial {best.trial_id} was trained with"),
        tag("span", tag("i", class_="swatch"), "all others; a slanted line is a copy"),
    ]


def stretches(row: TrialRow, rows: Rows) -> list[Stretch]:
    """Whose training a member's weights went through, each with its from and to."""
    line = ancestry(row, rows)
    ends = [start for start, _ in line[1:]] + [row.at]
    return [(start, end, member) for (start, member), end in zip(line, ends, strict=True)]


def own_life(row: TrialRow) -> list[tuple[float, dict[str, Any]]]:
    """A member's own knob values, whatever weights it held: `(from, values)`."""
    starts = [0.0, *(copy.rung for copy in row.copies)]
    values = [copy.before for copy in row.copies] + [row.values]
    return [*zip(starts, values, strict=True)]


def lineage_chart(report: SweepReport) -> Markup:
    """A lane for each member over the time axis; copies go from lane to lane."""
    rows, best = report.rows, report.rows.best()
    shown = _shown(rows)
    height = LANE * len(shown) + 60
    end = max([report.horizon or 0.0, *(row.at for row in rows)])
    lanes = Options(tuple(reversed([row.trial_id for row in shown])))
    frame = Frame(Numbers(0.0, end or 1.0), lanes, width=1140, height=height)
    lines = [_lane(frame, row) for row in shown]
    lines += [_copy_line(frame, row, copy.rung, copy.donor) for row in shown for copy in row.copies]
    if best is not None:
        places = []
        for start, stop, member in stretches(best, rows):
            y = frame.at_y(member.trial_id)
            places += [(frame.at_x(start), y), (frame.at_x(stop), y)]
        lines.append(tag("path", class_="line best", d=path(places), data_t=best.number))
    axes = frame.axes(report.time_axis, "trial", x_ticks=10)
    told = "Which member went on as a copy of which"
    return frame.svg(told, axes, frame.clip("clip-lineage", *lines), class_="chart wide")


def _shown(rows: Rows) -> list[TrialRow]:
    sign = 1 if rows.mode == "min" else -1
    order = sorted(rows, key=lambda r: (r.score is None, sign * (r.score or 0.0), r.number))
    return sorted(order[:MAX_LANES], key=lambda row: row.number)


def _lane(frame: Frame, row: TrialRow) -> Markup:
    y, told = frame.at_y(row.trial_id), f"trial {row.trial_id}"
    line = path([(frame.at_x(0.0), y), (frame.at_x(row.at), y)])
    return tag("path", tag("title", told), class_="line", d=line, data_t=row.number)


def _copy_line(frame: Frame, row: TrialRow, rung: float, donor: int) -> Markup:
    """From the donor's lane, a little before the rung, to the copy's own."""
    to = frame.at_x(rung)
    start = (to or 0.0) - 14, frame.at_y(f"{donor:03d}")
    told = tag("title", f"trial {row.trial_id} copied {donor:03d} at {rung:g}")
    points = [start, (to, frame.at_y(row.trial_id))]
    end = tag("circle", told, cx=number(to), cy=number(points[1][1]), r=3, data_t=row.number)
    return join(tag("path", class_="line good", d=path(points), data_t=row.number), end)


def mutated_axes(report: SweepReport) -> dict[str, Axis]:
    """The axes of numeric knobs that some copy changed."""
    changed = {name for row in report.rows for copy in row.copies for name in copy.changes}
    found = {}
    for name, axis in knob_axes(report.rows, report.space).items():
        if name in changed and isinstance(axis, Numbers):
            told = [at.get(name) for row in report.rows for _, at in own_life(row)]
            values = [float(value) for value in told if value is not None and is_number(value)]
            low, high = min([axis.low, *values]), max([axis.high, *values])
            found[name] = Numbers(low, high, axis.is_log)
    return found


def schedule_chart(report: SweepReport, name: str, axis: Axis, index: int) -> Markup:
    """A knob of every member over the time axis, and the schedule of the best one's weights."""
    rows, best = report.rows, report.rows.best()
    x = Numbers(0.0, max([report.horizon or 1.0, *(row.at for row in rows)]))
    frame = Frame(x, axis, width=272, height=200, left=46, bottom=38, right=12, top=10)
    lines = []
    for row in rows:
        points = [(frame.at_x(start), frame.at_y(v.get(name))) for start, v in own_life(row)]
        points.append((frame.at_x(row.at), points[-1][1]))
        lines.append(tag("path", class_="line", d=path(stairs(points)), data_t=row.number))
    if best is not None:
        points = [
            (frame.at_x(start), frame.at_y(member.values_at(stop).get(name)))
            for start, stop, member in stretches(best, rows)
        ]
        points.append((frame.at_x(best.at), points[-1][1]))
        line = path(stairs(points))
        lines.append(tag("path", class_="line best", d=line, data_t=best.number))
    content = frame.clip(f"clip-schedule-{index}", *lines)
    axes = frame.axes(report.time_axis, "", x_ticks=4, y_ticks=4)
    return frame.svg(f"{name} over the time axis", axes, content)


def _table(report: SweepReport) -> Markup:
    """Every copy: when, who, of whom, what it changed."""
    titles, links = (report.time_axis, "trial", "copied", "changed"), report.links
    head = tag("tr", *(tag("th", title) for title in titles))
    copies = [(copy.rung, row, copy) for row in report.rows for copy in row.copies]
    lines = []
    for rung, row, copy in sorted(copies, key=lambda found: (found[0], found[1].number)):
        donor = report.rows.by_number[copy.donor]
        changes = "; ".join(
            f"{name} {format_value(old)} → {format_value(new)}"
            for name, (old, new) in copy.changes.items()
        )
        cells = (
            f"{rung:g}",
            safe_link(row.trial_id, links.get(row.run_id, "")),
            safe_link(donor.trial_id, links.get(donor.run_id, "")),
            short(changes or "nothing", 160),
        )
        lines.append(tag("tr", *(tag("td", cell) for cell in cells), data_t=row.number))
    return tag("table", head, *lines, class_="list")

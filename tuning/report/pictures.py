"""The report's pictures as PNG, which MLflow shows beside the sweep's run and a slide can hold.

matplotlib's `Figure` without pyplot: no window, no state that another thread could share. They show
what the page shows, on the same axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..rows import TrialRow
from .charts import (
    back_to_front,
    curve_colours,
    curves_in_order,
    jitter,
    marks,
    scores,
    stairs,
)
from .findings import Findings
from .frames import thinned
from .parallel import shown as parallel_rows
from .progress import improvements, spent, when_done
from .ranking import fate
from .rungs import rungs_of
from .scales import (
    Axis,
    Numbers,
    Options,
    knob_axes,
    padded,
    percent,
    score_axis,
    spanning,
    time_unit,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEST, GOOD, OTHER = "#d55e00", "#0072b2", "#a9b6c2"
STAGES = ("#c2ccd6", "#8fc1d9", "#55a2cc", "#2f80b9", "#235e9e", "#1c3570")
COLOURS = {"best": BEST, "good": GOOD, "other": OTHER}
COLOURS |= {f"r{number}": colour for number, colour in enumerate(STAGES)}
MAX_LABEL = 16


def draw(findings: Findings) -> dict[str, Figure]:
    """Name -> picture, for those that there is something to draw of."""
    rows = findings.report.rows
    has_score = rows.best() is not None
    has_knobs = any(row.values for row in rows)
    wanted: dict[str, tuple[bool, Callable[[Findings], Figure]]] = {
        "best_so_far": (has_score, best_so_far),
        "learning_curves": (has_score, learning_curves),
        "parallel": (has_score and has_knobs, parallel),
        "importance": (bool(findings.importances.knobs), importance),
        "slices": (has_score and has_knobs, slices),
        "pareto": (bool(findings.points), front),
    }
    return {name: make(findings) for name, (is_told, make) in wanted.items() if is_told}


def _figure(width: float, height: float, layout: Any = "constrained") -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def _set_axis(axes: Any, which: str, axis: Axis, label: str) -> None:
    """Range, scale, ticks and label of one side of a chart, as the page has them."""
    if isinstance(axis, Numbers):
        getattr(axes, f"set_{which}scale")("log" if axis.is_log else "linear")
        getattr(axes, f"set_{which}lim")(axis.low, axis.high)
        places, texts = zip(*axis.ticks(), strict=True) if axis.ticks() else ((), ())
    else:
        getattr(axes, f"set_{which}lim")(0, 1)
        places = [axis.place(option) for option in axis.options]
        texts = [_short(text) for _, text in axis.ticks()]
    turned = {"rotation": 30, "ha": "right"} if isinstance(axis, Options) and which == "x" else {}
    getattr(axes, f"set_{which}ticks")(places, texts, fontsize=8, **turned)
    getattr(axes, f"{which}axis").minorticks_off()
    getattr(axes, f"set_{which}label")(_plain(label))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(text: str) -> str:
    """Text in which a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def _short(text: str) -> str:
    return _plain(text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…")


def _points(
    axes: Any, kinds: dict[int, str], rows: Sequence[TrialRow], xs: list[Any], ys: list[Any]
) -> None:
    """Trials as points, those stopped early as rings."""
    colours = [COLOURS[kinds[row.number]] for row in rows]
    faces = ["white" if fate(row) == "stopped" else c for row, c in zip(rows, colours, strict=True)]
    sizes = [46 if kinds[row.number] == "best" else 16 for row in rows]
    axes.scatter(xs, ys, s=sizes, c=faces, edgecolors=colours, linewidths=1.0, zorder=3)


def best_so_far(findings: Findings) -> Figure:
    """The best score over time and over epochs, above a point for each trial."""
    rows = findings.report.rows
    figure = _figure(10, 3.9)
    end, done, kinds = spent(rows), when_done(rows), marks(rows)
    divisor, unit = time_unit(end.seconds)
    shown = [row for row in back_to_front(rows) if row.number in done]
    sides = ((f"wall time ({unit})", "seconds", divisor), ("epochs of all trials", "epochs", 1.0))
    for axes, (label, name, size) in zip(figure.subplots(1, 2), sides, strict=True):
        _set_axis(axes, "x", Numbers(0.0, getattr(end, name) / size or 1.0), label)
        _set_axis(axes, "y", scores(rows), rows.metric)
        xs = [getattr(done[row.number], name) / size for row in shown]
        _points(axes, kinds, shown, xs, [row.score for row in shown])
        steps = [(getattr(step, name) / size, step.score) for step in improvements(rows)]
        line = stairs([*steps, (getattr(end, name) / size, steps[-1][1])])
        axes.plot(*zip(*line, strict=True), color=BEST, lw=1.8)
    return figure


def learning_curves(findings: Findings) -> Figure:
    """Every trial's score along the time axis, coloured by how far it came."""
    from matplotlib.collections import LineCollection

    report = findings.report
    rows, best, kinds = report.rows, report.rows.best(), curve_colours(report)
    figure = _figure(9, 4.6)
    axes, shown = figure.add_subplot(), curves_in_order(report)
    lines = [[(r.at, r.score) for r in thinned(row.history)] for row in shown]
    colours = [COLOURS[kinds[row.number]] for row in shown]
    widths = [2.4 if row is best else 1.0 for row in shown]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=widths))
    ends = [
        (line[0], colour) for line, colour in zip(lines, colours, strict=True) if len(line) == 1
    ]
    axes.scatter([p[0] for p, _ in ends], [p[1] for p, _ in ends], s=4, c=[c for _, c in ends])
    end = max([row.at for row in shown] + [report.horizon or 0.0, 1.5])
    _set_axis(
        axes, "x", Numbers(min(1.0, *(line[0][0] for line in lines), 1.0), end), report.time_axis
    )
    _set_axis(axes, "y", score_axis((s for line in lines for _, s in line), rows.mode), rows.metric)
    rungs = rungs_of(rows, report.rungs)
    for rung in rungs[:20]:
        axes.axvline(rung, color="0.5", linestyle=":", linewidth=0.8)
    told = ", by the last rung they came to" if rungs else ""
    name = best.trial_id if best else "-"
    axes.set_title(f"{len(shown)} trials{told}; best: trial {name}", fontsize=10)
    return figure


def parallel(findings: Findings) -> Figure:
    """One upright axis a knob and one line a trial, the score last."""
    from matplotlib.collections import LineCollection

    report = findings.report
    rows, kinds = report.rows, marks(report.rows)
    knobs = knob_axes(rows, report.space)
    named: list[tuple[str, Axis]] = [*knobs.items(), (rows.metric, scores(rows))]
    figure = _figure(min(16.0, max(7.0, 1.5 * len(named))), 4.8)
    axes, shown = figure.add_subplot(), parallel_rows(rows)
    bad_end = 1.0 if rows.mode == "min" else 0.0
    lines = []
    for row in shown:
        places = [
            axis.place(row.values.get(n)) if n in row.values else None for n, axis in knobs.items()
        ]
        heights = [-0.09 if place is None else min(max(place, 0.0), 1.0) for place in places]
        end = bad_end if row.score is None else named[-1][1].place(row.score)
        lines.append([*enumerate([*heights, min(max(end or 0.0, 0.0), 1.0)])])
    alphas = {"best": 1.0, "good": 0.7, "other": 0.35}
    axes.add_collection(
        LineCollection(
            lines,
            colors=[COLOURS[kinds[row.number]] for row in shown],
            linewidths=[2.6 if kinds[row.number] == "best" else 1.0 for row in shown],
            alpha=[alphas[kinds[row.number]] for row in shown],
        )
    )
    for index, (_, axis) in enumerate(named):
        axes.plot([index, index], [0, 1], color="0.35", lw=1)
        for value, text in axis.ticks():
            halo = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}
            place = axis.place(value) or 0.0
            axes.text(index + 0.03, place, _short(text), fontsize=7, va="center", bbox=halo)
    axes.set(xlim=(-0.15, len(named) - 0.5), ylim=(-0.13, 1.03), yticks=[])
    axes.set_xticks(range(len(named)), [_short(name) for name, _ in named], fontsize=8)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def importance(findings: Findings) -> Figure:
    """A bar a knob, with two standard errors."""
    knobs = findings.importances.knobs[::-1]
    figure = _figure(7, 1.4 + 0.34 * len(knobs))
    axes = figure.add_subplot()
    axes.barh(
        range(len(knobs)),  # two long names may be cut to the same text
        [knob.drop for knob in knobs],
        xerr=[2 * knob.error for knob in knobs],
        color=[GOOD if knob.is_clear else OTHER for knob in knobs],
        error_kw={"ecolor": "0.3", "lw": 1},
    )
    axes.set_yticks(range(len(knobs)), [_short(knob.knob) for knob in knobs])
    axes.set_xlabel("share of the rank's variance lost when the knob is shuffled")
    told = (
        f"{findings.importances.trials} trials, {percent(findings.importances.explained)} explained"
    )
    axes.set_title(f"Permutation importance ({told})", fontsize=10)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def slices(findings: Findings) -> Figure:
    """The score of every trial over each knob, one panel a knob."""
    report = findings.report
    rows, kinds, y = report.rows, marks(report.rows), scores(report.rows)
    knobs = knob_axes(rows, report.space)
    wide = min(4, len(knobs))
    high = math.ceil(len(knobs) / wide)
    figure = _figure(3.0 * wide, 2.6 * high, layout=None)
    # Twenty panels take a second to lay out by trial; these margins fit any.
    figure.subplots_adjust(left=0.2 / wide, right=0.98, top=1 - 0.12 / high, bottom=0.27 / high)
    figure.subplots_adjust(hspace=0.6, wspace=0.25)
    order = [row for row in back_to_front(rows) if row.score is not None]
    for index, (name, axis) in enumerate(knobs.items()):
        axes = figure.add_subplot(high, wide, index + 1)
        shown = [row for row in order if name in row.values]
        places = [row.values[name] for row in shown]
        if isinstance(axis, Options):
            values = [(axis.place(v) or 0.0, row) for v, row in zip(places, shown, strict=True)]
            places = [place + jitter(axis, row.number) for place, row in values]
        _set_axis(axes, "x", axis, "")
        _set_axis(axes, "y", y, rows.metric if index % wide == 0 else "")
        _points(axes, kinds, shown, places, [row.score for row in shown])
        axes.set_title(_short(name), fontsize=10)
    return figure


def front(findings: Findings) -> Figure:
    """The deciding metric over each objective, the Pareto front marked."""
    modes = findings.report.modes
    names = list(modes)
    figure = _figure(5.2 * (len(names) - 1), 4.2)
    points = sorted(findings.points, key=lambda point: point.is_on_front)
    for index, name in enumerate(names[1:], 1):
        axes = figure.add_subplot(1, len(names) - 1, index)
        colours = [GOOD if point.is_on_front else OTHER for point in points]
        xs, ys = ([point.values[i] for point in points] for i in (index, 0))
        for which, metric, values in (("x", name, xs), ("y", names[0], ys)):
            _set_axis(axes, which, padded(spanning(values)), f"{metric} ({modes[metric]})")
        axes.scatter(xs, ys, c=colours, s=[34 if p.is_on_front else 14 for p in points], zorder=3)
    return figure

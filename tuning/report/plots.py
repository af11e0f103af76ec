"""Pictures of a sweep: every trial's curve with the best marked, and the score over each knob.

matplotlib's `Figure` without pyplot: no window, no state that another thread could share.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..rows import Rows, TrialRow
from ..table import format_value

BEST, OTHERS = "#d1495b", "#8d99ae"


def curves(rows: Rows) -> Figure:
    """The deciding metric of every trial over epochs."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    best = rows.best()
    for row in sorted(rows, key=lambda r: r is best):
        style = {"color": BEST, "lw": 2.2} if row is best else {"color": OTHERS, "lw": 0.9}
        label = f"best: trial {row.trial_id}" if row is best else None
        points = [(epoch, score) for epoch, score in row.history if math.isfinite(score)]
        epochs, scores = zip(*points, strict=True) if points else ((), ())
        axes.plot(epochs, scores, marker=".", label=label, **style)
    axes.set(xlabel="epoch", ylabel=rows.metric, title=f"{len(rows)} trials")
    if best is not None:
        axes.legend()
    return figure


def slices(rows: Rows) -> Figure:
    """The score of every trial over each knob, one panel a knob."""
    scored = [row for row in rows if row.score is not None]
    knobs = [*dict.fromkeys(name for row in scored for name in row.values)]
    wide = min(4, max(1, len(knobs)))
    high = max(1, math.ceil(len(knobs) / wide))
    figure = Figure(figsize=(3.1 * wide, 2.6 * high), layout="constrained")
    for index, name in enumerate(knobs):
        axes = figure.add_subplot(high, wide, index + 1)
        having = [row for row in scored if name in row.values]
        _slice(axes, name, having, rows.best())
        if index % wide == 0:
            axes.set_ylabel(rows.metric)
    return figure


def _slice(axes: Any, name: str, having: list[TrialRow], best: TrialRow | None) -> None:
    values = [row.values[name] for row in having]
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        places = values
        if min(values) > 0 and max(values) / min(values) > 30:
            axes.set_xscale("log")
    else:
        texts = sorted({format_value(v) for v in values})
        places = [texts.index(format_value(v)) for v in values]
        axes.set_xticks(range(len(texts)), [t[:14] for t in texts], rotation=30, ha="right")
    colors = [BEST if row is best else OTHERS for row in having]
    axes.scatter(places, [row.score for row in having], c=colors, s=16)
    axes.set_title(name, fontsize=10)


PICTURES: dict[str, Callable[[Rows], Figure]] = {"curves": curves, "knobs": slices}


def draw(rows: Rows, folder: Path) -> list[str]:
    """Write the pictures of a sweep.

    Args:
        rows: Its trials; without a report there is nothing to draw.
        folder: The sweep's folder; the pictures go into `plots` there.

    Returns:
        Their paths.
    """
    if rows.best() is None:
        return []
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    paths = []
    for name, make in PICTURES.items():
        path = plots / f"{name}.png"
        make(rows).savefig(path, dpi=130)
        paths.append(str(path))
    return paths

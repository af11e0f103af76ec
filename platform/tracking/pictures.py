"""The learning curves of a run, drawn from its metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Points = Sequence[tuple[int, float]]
MAX_PANELS = 6
MAX_POINTS = 2000
# MLflow stores an infinity as the largest float.
TOO_LARGE = 1e300


def learning_curves(histories: Mapping[str, Points]) -> Figure | None:
    """One panel for each quantity, training and validation together.

    Args:
        histories: Metric -> (step, value) points; `train/loss`, `val/loss` and `train/loss_step`
            share a panel, a metric of one point (as of a test) is a level line.

    Returns:
        The figure, or `None` when no metric has two points.
    """
    panels = group(histories)
    if not panels:
        return None
    from matplotlib.figure import Figure

    size = (6 * min(2, len(panels)), 3.6 * math.ceil(len(panels) / 2))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(math.ceil(len(panels) / 2), min(2, len(panels)), squeeze=False).flatten()
    for axes, (title, curves) in zip(grid, panels.items(), strict=False):
        for name in sorted(curves):
            _draw(axes, name, curves[name])
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return figure


def group(histories: Mapping[str, Points]) -> dict[str, dict[str, Points]]:
    """Quantity -> its metrics: `loss` -> `train/loss`, `val/loss`; losses first, six at most.

    Metrics of which none has two points make no panel; neither does the epoch's number.
    """
    panels: dict[str, dict[str, Points]] = {}
    for name, points in histories.items():
        quantity = name.rpartition("/")[2].removesuffix("_step")
        if quantity != "epoch":
            panels.setdefault(quantity, {})[name] = points
    drawn = {q: curves for q, curves in panels.items() if any(len(p) > 1 for p in curves.values())}
    order = sorted(drawn, key=lambda quantity: ("loss" not in quantity, -len(drawn[quantity])))
    return {quantity: drawn[quantity] for quantity in order[:MAX_PANELS]}


def _draw(axes: Any, name: str, points: Points) -> None:
    stride = math.ceil(len(points) / MAX_POINTS)
    steps = [step for step, _ in points[::stride]]
    values = [v if abs(v) < TOO_LARGE else math.nan for _, v in points[::stride]]
    if len(points) == 1:
        axes.axhline(values[0], linestyle="--", color="gray", label=f"{name} {values[0]:.4g}")
        return
    faint = name.endswith("_step")
    marker = "o" if len(points) <= 20 else None
    axes.plot(steps, values, label=name, alpha=0.35 if faint else 1.0, marker=marker, markersize=3)

"""Generated points among the places of the data, drawn without pyplot. N points, M modes."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle


def ring_picture(points: np.ndarray, centres: np.ndarray, reach: float, title: str = "") -> Figure:
    """Points in the plane, and a circle about each mode within which they count for it.

    Args:
        points: (N, 2).
        centres: (M, 2).
        reach: Radius of the circles.
        title: What stands above.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    axes.scatter(*points.T, s=3, alpha=0.3, color="tab:blue", label="generated")
    for number, (x, y) in enumerate(centres):
        label = "mode" if number == 0 else None
        axes.add_patch(Circle((x, y), reach, fill=False, edgecolor="tab:red", label=label))
    limit = 1.3 * float(np.abs(centres).max()) + reach  # what lies outside is cut off
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="$x_1$", ylabel="$x_2$")
    axes.set_title(title, fontsize=9)
    axes.legend(loc="upper right", fontsize=8)
    return figure

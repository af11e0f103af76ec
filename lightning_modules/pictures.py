"""Pictures of classifiers, drawn without pyplot: no global state, so any thread may draw.

N examples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure


def confusion_matrix(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """How often each class was taken for each other; colours are shares of the true class.

    Args:
        counts: Examples by true class (row) and predicted class (column), (K, K).
        class_names: K names.
    """
    size = 2.5 + 0.45 * len(counts)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts > 0) if len(counts) <= 20 else ():
        colour = "white" if share[row, column] > 0.5 else "black"
        text = str(counts[row, column])
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(counts)), class_names, rotation=45, ha="right")
    axes.set_yticks(range(len(counts)), class_names)
    accuracy = np.trace(counts) / max(counts.sum(), 1)
    axes.set(xlabel="predicted", ylabel="true", title=f"accuracy {accuracy:.2%}")
    return figure


def templates(weights: np.ndarray, names: Sequence[str] = ()) -> Figure:
    """Weights of units in the shape of what they look at: images or signals.

    Args:
        weights: (N, C, H, W) with one, three or other numbers of channels, or (N, D).
        names: N titles, or none.
    """
    columns = math.ceil(math.sqrt(len(weights)))
    rows = math.ceil(len(weights) / columns)
    figure = Figure(figsize=(1.3 * columns, (1.5 if names else 1.3) * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    limit = max(float(np.abs(weights).max()), 1e-12)  # one scale, so that units can be compared
    for axes in grid:
        axes.set_axis_off()
    for index, (axes, weight) in enumerate(zip(grid, weights, strict=False)):
        _draw_template(axes, weight, limit)
        if names:
            axes.set_title(names[index], fontsize=8)
    return figure


def _draw_template(axes: Axes, weight: np.ndarray, limit: float) -> None:
    """Draw a signal (D,) as a line, an image (C, H, W) in colour or red to blue."""
    if weight.ndim != 3:
        axes.plot(weight.ravel(), linewidth=1)
        axes.axhline(0, color="gray", linewidth=0.5)
        axes.set_ylim(-limit, limit)
    elif len(weight) == 3:
        axes.imshow((weight.transpose(1, 2, 0) / limit + 1) / 2)
    else:
        axes.imshow(weight.mean(0), cmap="RdBu_r", vmin=-limit, vmax=limit)


def hyperplane(
    weight: np.ndarray, bias: float, points: tuple[np.ndarray, np.ndarray] | None = None
) -> Figure:
    """The line w.x + b = 0 in the plane, its margins w.x + b = -1 and 1, and some examples.

    Args:
        weight: w, (2,).
        bias: b.
        points: Examples (N, 2) and their classes 0 or 1, (N,).
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    reach = 1.0
    if points is not None:
        x, labels = points
        reach = max(1.05 * float(np.abs(x).max()), 1e-6)
        for label, colour in ((0, "tab:blue"), (1, "tab:red")):
            axes.scatter(*x[labels == label].T, s=8, color=colour, label=f"class {label}")
        axes.legend(loc="upper right")
    ticks = np.linspace(-reach, reach, 200)
    score = weight[0] * ticks[None, :] + weight[1] * ticks[:, None] + bias  # (200, 200)
    sides, window = ListedColormap(["tab:blue", "tab:red"]), (-reach, reach, -reach, reach)
    axes.imshow(score > 0, cmap=sides, vmin=0, vmax=1, extent=window, origin="lower", alpha=0.12)
    length = float(weight @ weight)
    for level, style in ((-1, "--"), (0, "-"), (1, "--")) if length > 0 else ():
        foot = weight * (level - bias) / length  # the point of the line nearest to the origin
        across = foot + np.array([-weight[1], weight[0]]) / math.sqrt(length)
        axes.axline(tuple(foot), tuple(across), color="black", linestyle=style)
    axes.set(xlim=window[:2], ylim=window[2:], xlabel="$x_1$", ylabel="$x_2$")
    axes.set_title("$w \\cdot x + b = 0$ and its margins at $\\pm 1$")
    return figure

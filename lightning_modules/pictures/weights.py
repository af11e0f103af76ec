"""Pictures of weights, drawn without pyplot: no global state, so any thread may draw.

N units, C channels, H x W picture, D features. What a network makes of its examples is drawn in
`outcomes`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure


def templates(weights: np.ndarray, names: Sequence[str]) -> Figure:
    """Weights of classes in the shape of what they look at, a titled picture each.

    Args:
        weights: Images (N, C, H, W) or signals (N, D).
        names: N titles.
    """
    columns = math.ceil(math.sqrt(len(weights)))
    rows = math.ceil(len(weights) / columns)
    figure = Figure(figsize=(1.3 * columns, 1.5 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    limit = _limit(weights)
    for axes in grid:
        axes.set_axis_off()
    for axes, weight, name in zip(grid, weights, names, strict=False):
        axes.set_title(name, fontsize=8)
        if weight.ndim == 3:
            _show(axes, weight, limit)
        else:
            axes.plot(weight.ravel(), linewidth=1)
            axes.axhline(0, color="gray", linewidth=0.5)
            axes.set_ylim(-limit, limit)
    return figure


def filters(weights: np.ndarray) -> Figure:
    """Weights of many units in one picture: images side by side, signals one above the other.

    Args:
        weights: Images (N, C, H, W) or signals (N, D).
    """
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    if weights.ndim == 4:
        axes.set_axis_off()
        _show(axes, _mosaic(weights), _limit(weights))
    else:
        signals = weights.reshape(1, len(weights), -1)  # (1, N, D)
        _show(axes, signals, _limit(weights))
        axes.set_aspect("auto")
        axes.set(xlabel="input", ylabel="unit")
    return figure


def _limit(weights: np.ndarray) -> float:
    """One scale for all units, so that they can be compared."""
    return max(float(np.abs(weights).max()), 1e-12)


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Tile (N, C, H, W) into one image (C, rows * (H + 1), columns * (W + 1)), zeros between."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    missing = rows * columns - len(images)
    padded = np.pad(images, ((0, missing), (0, 0), (0, 1), (0, 1)))
    channels, height, width = padded.shape[1:]
    tiles = padded.reshape(rows, columns, channels, height, width).transpose(2, 0, 3, 1, 4)
    return tiles.reshape(channels, rows * height, columns * width)


def _show(axes: Axes, image: np.ndarray, limit: float) -> None:
    """Draw (3, H, W) in its colours and (C, H, W) from blue (minus) over white to red (plus)."""
    if len(image) == 3:
        axes.imshow((image.transpose(1, 2, 0) / limit + 1) / 2)
    else:
        axes.imshow(image.mean(0), cmap="RdBu_r", vmin=-limit, vmax=limit)


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

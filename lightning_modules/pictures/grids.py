"""What a decoder makes of codes, and where codes lie, drawn without pyplot.

N pictures, C channels, H x W picture, D numbers of an example that is no picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

GAP = 1  # pixels between pictures


def picture_grid(pictures: np.ndarray, columns: int, title: str = "") -> Figure:
    """Pictures side by side, row by row, on a scale from 0 to 1.

    Args:
        pictures: (N, C, H, W), or (N, D): each a curve.
        columns: How many stand in a row.
        title: What stands above.
    """
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=_size(rows, columns), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=9)
    show_grid(figure.add_subplot(), pictures, columns)
    return figure


def picture_rows(rows: np.ndarray, names: Sequence[str], title: str = "") -> Figure:
    """Rows of pictures, each with a name to its left.

    Args:
        rows: (R, N, C, H, W), or (R, N, D).
        names: R names.
        title: What stands above.
    """
    figure = picture_grid(rows.reshape(-1, *rows.shape[2:]), rows.shape[1], title)
    axes = figure.axes[0]
    height = (axes.get_ylim()[0] - axes.get_ylim()[1]) / len(rows)
    top = axes.get_ylim()[1]
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([top + (row + 0.5) * height for row in range(len(rows))], names, fontsize=7)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def code_map(codes: np.ndarray, labels: np.ndarray | None) -> Figure:
    """Where codes of two numbers lie, over the circles that hold 39 % and 86 % of a unit Gaussian.

    Args:
        codes: (N, 2).
        labels: Their classes (N,), if they have any: one colour each.
    """
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    points = axes.scatter(*codes.T, s=6, c=labels, cmap=None if labels is None else "tab10")
    if labels is not None:
        figure.colorbar(points, label="class")
    turn = np.linspace(0, 2 * np.pi, 100)
    for radius in (1, 2):
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), color="gray", linewidth=0.8)
    axes.set(xlabel="$z_1$", ylabel="$z_2$")
    return figure


def show_grid(axes: Axes, pictures: np.ndarray, columns: int) -> None:
    """Draw pictures (N, C, H, W), or curves (N, D), side by side into the axes."""
    axes.set_axis_off()
    if pictures.ndim == 4:
        image = tiled(pictures, columns)  # (C, height, width)
        kind = {"cmap": "gray", "vmin": 0, "vmax": 1}
        if len(image) == 3:
            axes.imshow(image.transpose(1, 2, 0))
        else:
            axes.imshow(image.mean(0), **kind)
        return
    for number, curve in enumerate(pictures.reshape(len(pictures), -1)):
        row, column = divmod(number, columns)
        across = column + np.linspace(0.05, 0.95, len(curve))
        axes.plot(across, row + 0.95 - 0.9 * curve, color="tab:blue", linewidth=0.8)
    axes.set(xlim=(0, columns), ylim=(-(-len(pictures) // columns), 0))


def tiled(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Pictures (N, C, H, W) as one, (C, rows (H + 1) - 1, columns (W + 1) - 1), white between."""
    rows = -(-len(pictures) // columns)
    missing = rows * columns - len(pictures)
    gaps = ((0, missing), (0, 0), (0, GAP), (0, GAP))
    padded = np.pad(pictures.clip(0, 1), gaps, constant_values=1)
    channels, height, width = padded.shape[1:]
    tiles = padded.reshape(rows, columns, channels, height, width).transpose(2, 0, 3, 1, 4)
    return tiles.reshape(channels, rows * height, columns * width)[:, :-GAP, :-GAP]


def _size(rows: int, columns: int) -> tuple[float, float]:
    """Inches for a grid, the longer side at most 8."""
    scale = min(0.6, 8 / max(rows, columns))
    return max(2.0, scale * columns + 0.3), max(1.5, scale * rows + 0.4)

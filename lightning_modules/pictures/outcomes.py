"""Pictures of what a classifier makes of its examples, drawn without pyplot.

N examples, K classes, C channels, H x W picture, D steps of a signal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
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


def wrongest(
    inputs: np.ndarray,
    loss: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    class_names: Sequence[str],
) -> Figure:
    """The examples with the highest loss, each with its true and its predicted class.

    Args:
        inputs: Pictures (N, C, H, W) or vectors (N, D); each is drawn on a scale of its own.
        loss: Cross entropy of each, in nats, (N,).
        labels: True classes (N,).
        predicted: Predicted classes (N,).
        class_names: K names.
    """
    columns = math.ceil(math.sqrt(len(inputs)))
    rows = math.ceil(len(inputs) / columns)
    figure = Figure(figsize=(1.9 * columns, 2.1 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, x, cost, true, taken in zip(grid, inputs, loss, labels, predicted, strict=False):
        _draw(axes, x)
        title = f"{class_names[true]}\nas {class_names[taken]}, {cost:.2g} nats"
        axes.set_title(title, fontsize=7)
    return figure


def feature_maps(x: np.ndarray, maps: np.ndarray, name: str) -> Figure:
    """What the first convolution makes of one example: the example, then its channels.

    Args:
        x: The example, a picture (C, H, W) or a signal (D,).
        maps: Channels of a picture (N, H, W), or of a signal (N, D).
        name: Title of the example.
    """
    if maps.ndim == 2:
        return _signal_maps(x, maps, name)
    columns = math.ceil(math.sqrt(len(maps) + 1))
    rows = math.ceil((len(maps) + 1) / columns)
    figure = Figure(figsize=(0.95 * columns + 0.4, 1.05 * rows), layout="constrained")
    first, *grid = figure.subplots(rows, columns, squeeze=False).flat
    _draw(first, x)
    first.set_title(name, fontsize=7)
    limit = max(float(np.abs(maps).max()), 1e-12)  # one scale: channels can be compared
    for axes in (first, *grid):
        axes.set_axis_off()
    for axes, channel in zip(grid, maps, strict=False):
        axes.imshow(channel, cmap="RdBu_r", vmin=-limit, vmax=limit)
    return figure


def _signal_maps(x: np.ndarray, maps: np.ndarray, name: str) -> Figure:
    figure = Figure(figsize=(6, 5), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(1, 2))
    above.plot(x.ravel(), linewidth=1)
    above.set(title=name)
    above.margins(x=0)
    limit = max(float(np.abs(maps).max()), 1e-12)
    below.imshow(maps, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    below.set(xlabel="position", ylabel="channel")
    return figure


def _draw(axes: Axes, x: np.ndarray) -> None:
    """Draw a picture (C, H, W) from its darkest to its brightest value, or a vector as a line."""
    if x.ndim != 3:
        axes.plot(x.ravel(), linewidth=1)
        return
    low, high = float(x.min()), float(x.max())
    light = (x - low) / max(high - low, 1e-12)
    if len(x) == 3:
        axes.imshow(light.transpose(1, 2, 0))
    else:
        axes.imshow(light.mean(0), cmap="gray", vmin=0, vmax=1)

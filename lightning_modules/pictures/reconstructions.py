"""The picture of an autoencoder: inputs above what it made of them, drawn without pyplot."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def reconstructions(inputs: np.ndarray, outputs: np.ndarray) -> Figure:
    """Each input above its reconstruction, both on a scale from 0 to 1.

    Args:
        inputs: Pictures (N, C, H, W) or vectors (N, D).
        outputs: The reconstructions, of the same shape.
    """
    figure = Figure(figsize=(1.2 * len(inputs), 2.6), layout="constrained")
    grid = figure.subplots(2, len(inputs), squeeze=False)
    for row, examples, title in zip(grid, (inputs, outputs), ("input", "output"), strict=True):
        for axes, example in zip(row, examples, strict=True):
            axes.set_axis_off()
            _show(axes, example)
        row[0].set_title(title, fontsize=8, loc="left")
    return figure


def _show(axes: Axes, example: np.ndarray) -> None:
    if example.ndim == 3 and len(example) == 3:
        axes.imshow(example.transpose(1, 2, 0))
    elif example.ndim == 3:
        axes.imshow(example.mean(0), cmap="gray", vmin=0, vmax=1)
    else:
        axes.plot(example.ravel(), linewidth=1)
        axes.set_ylim(-0.05, 1.05)

"""The picture of pictures with the words that they were given, drawn without pyplot."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure


def spelled_pictures(
    pictures: np.ndarray, words: Sequence[str], true: Sequence[str] | None = None
) -> Figure:
    """Each picture under what was spelled of it.

    Args:
        pictures: (N, C, H, W), each drawn from its darkest to its brightest value.
        words: What was spelled of each.
        true: What should have been, if it is known: words that differ are red.
    """
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(1.3 * columns, 1.5 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for number, (axes, picture) in enumerate(zip(grid, pictures, strict=False)):
        low, high = float(picture.min()), float(picture.max())
        light = (picture - low) / max(high - low, 1e-12)
        colours = light.transpose(1, 2, 0) if len(light) == 3 else light.mean(0)
        axes.imshow(colours, cmap="gray")
        wrong = true is not None and words[number] != true[number]
        axes.set_title(words[number], fontsize=8, color="red" if wrong else "black")
    return figure

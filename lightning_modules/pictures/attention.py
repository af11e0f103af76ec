"""The picture of attention: which source words each target word looked at, without pyplot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure


def attention_map(weights: np.ndarray, source: Sequence[str], target: Sequence[str]) -> Figure:
    """A row for each target unit, a column for each source unit; dark is a weight of 1.

    After figure 3 of Bahdanau, Cho and Bengio 2015.

    Args:
        weights: (T, S), 0 to 1.
        source: S units.
        target: T units.
    """
    size = (1.5 + 0.3 * len(source), 1.2 + 0.25 * len(target))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.imshow(weights, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(source)), source, rotation=90, fontsize=8)
    axes.set_yticks(range(len(target)), target, fontsize=8)
    axes.xaxis.tick_top()
    axes.set_xlabel("source", fontsize=8)
    axes.set_ylabel("target", fontsize=8)
    return figure

"""The picture of what a recursive network gets right, by the height of trees; without pyplot."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure


def accuracy_by_height(height: np.ndarray, right: np.ndarray) -> Figure:
    """The share of trees of each height whose class is right, and how many there were.

    Args:
        height: Of each tree, int (N,).
        right: Whether its class was found, bool (N,).
    """
    heights, row = np.unique(height, return_inverse=True)
    count = np.bincount(row)
    share = np.bincount(row, weights=right) / count
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.bar(heights, share)
    axes.bar_label(bars, labels=[str(number) for number in count], fontsize=7)
    axes.set(xlabel="height of the tree (above: trees)", ylabel="accuracy", ylim=(0, 1.08))
    axes.set_xticks(heights)
    return figure

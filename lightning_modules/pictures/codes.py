"""The picture of a code of two numbers: the classes it was never told, beside PCA's plane."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def codes_beside_pca(codes: np.ndarray, components: np.ndarray, labels: np.ndarray) -> Figure:
    """Where examples lie in the code and in the plane of the first two principal components.

    Args:
        codes: (N, 2).
        components: (N, 2).
        labels: Classes that colour the points, (N,).
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _scatter(left, codes, labels, "autoencoder")
    _scatter(right, components, labels, "first two principal components")
    left.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, markerscale=2)
    return figure


def _scatter(axes: Axes, points: np.ndarray, labels: np.ndarray, title: str) -> None:
    for label in np.unique(labels):
        chosen = points[labels == label]
        axes.scatter(*chosen.T, s=6, color=f"C{int(label) % 10}", label=str(label))
    axes.set_title(title)

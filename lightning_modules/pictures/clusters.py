"""The pictures of k-means: its centres, and the inertia over the number of clusters.

K centres, N points, D features, C channels, H x W picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ..blocks.lloyd import elbow

MOST_CENTRES = 100  # that are drawn
NUM_ELBOW_POINTS = 1000


def figures(centres: Tensor, in_shape: Sequence[int], points: Tensor | None) -> dict[str, Figure]:
    """`centres`, and `elbow` where there are points to fit.

    Args:
        centres: (K, D).
        in_shape: Shape of one example.
        points: (N, D), or None.
    """
    shown = centres[:MOST_CENTRES].float().cpu()
    drawn = {"centres": _centres(shown.view(-1, *in_shape).numpy(), points)}
    if points is not None and centres.isfinite().all():
        some, most = points[:NUM_ELBOW_POINTS].float().cpu(), 2 * len(centres)
        powers = {2**power for power in range(int(math.log2(most)) + 1)}
        numbers = [k for k in sorted(powers | {len(centres)}) if k <= len(some)]
        drawn["elbow"] = elbow_curve(numbers, elbow(some, numbers), len(centres))
    return drawn


def elbow_curve(num_clusters: Sequence[int], inertia: Sequence[float], chosen: int) -> Figure:
    """The mean squared distance over K; where it bends, more clusters begin to split real ones.

    Args:
        num_clusters: Numbers of clusters.
        inertia: The mean squared distance that each left.
        chosen: The number that is marked.
    """
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="clusters", ylabel="mean squared distance to the centre")
    axes.plot(num_clusters, inertia, marker="o", markersize=3)
    axes.axvline(chosen, color="gray", linestyle="--", linewidth=1)
    axes.set_ylim(bottom=0)
    return figure


def _centres(centres: np.ndarray, points: Tensor | None) -> Figure:
    """Images in a grid, points in the plane, or signals one above the other."""
    if centres.ndim == 4:
        return _images(centres)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    if centres.shape[1] == 2:
        if points is not None:
            axes.scatter(*points[:, :2].T.cpu().numpy(), s=6, color="tab:gray", alpha=0.5)
        axes.scatter(*centres.T, s=60, marker="x", color="tab:red")
    else:
        axes.plot(centres.T, linewidth=1)
    return figure


def _images(centres: np.ndarray) -> Figure:
    columns = math.ceil(math.sqrt(len(centres)))
    rows = math.ceil(len(centres) / columns)
    figure = Figure(figsize=(1.2 * columns, 1.2 * rows), layout="constrained")
    low, high = float(centres.min()), float(centres.max())
    scaled = (centres - low) / max(high - low, 1e-12)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, image in zip(grid, scaled, strict=False):
        if len(image) == 3:
            axes.imshow(image.transpose(1, 2, 0))
        else:
            axes.imshow(image.mean(0), cmap="gray", vmin=0, vmax=1)
    return figure

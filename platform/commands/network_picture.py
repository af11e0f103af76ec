"""The figure of `paceline bench networks`: accuracy and time over cost, parameters as area."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .network_bench import Line, Network

_LARGEST = 1800.0  # area of the blob of the network with the most parameters, in square points


def draw(networks: Sequence[Network], line: Line | None) -> Figure:
    """Time over multiply-adds, and beside it the accuracy of those that have a tested run.

    Args:
        networks: Measured networks, at least one.
        line: The least-squares line through the times.
    """
    known = [one for one in networks if one.accuracy is not None]
    figure = Figure(figsize=(8 * (2 if known else 1), 5.5), layout="constrained")
    panels = figure.subplots(1, 2 if known else 1, squeeze=False)[0]
    colours = {data: f"C{i}" for i, data in enumerate(sorted({one.data for one in networks}))}
    largest = max(one.parameters for one in networks)
    area = _LARGEST / largest
    times = panels[-1]
    _blobs(times, networks, [1e3 * one.seconds for one in networks], colours, area)
    times.set(yscale="log", ylabel="milliseconds a picture, CPU", title="time over cost")
    if line is not None:
        x = np.geomspace(min(one.macs for one in networks), max(one.macs for one in networks), 200)
        y = 1e3 * (line.offset_s + line.seconds_per_mac * x)
        label = f"least squares: {1e12 * line.seconds_per_mac:.3g} ms a GMAC, $R^2$ = {line.r2:.3f}"
        times.plot(x[y > 0], y[y > 0], color="gray", linestyle="--", label=label)
    if known:
        _blobs(panels[0], known, [100 * (one.accuracy or 0) for one in known], colours, area)
        panels[0].set(ylabel="test accuracy, %", title="accuracy over cost")
    for data, colour in colours.items():
        times.scatter([], [], color=colour, alpha=0.5, label=data)
    for size in (size for size in (1e5, 1e6, 1e7, 1e8) if size <= largest):
        times.scatter(
            [],
            [],
            s=area * size,
            color="none",
            edgecolor="black",
            label=f"{size / 1e6:g} M parameters",
        )
    handles, labels = times.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _blobs(
    axes: Any,
    networks: Sequence[Network],
    heights: Sequence[float],
    colours: dict[str, str],
    area: float,
) -> None:
    for one, height in zip(networks, heights, strict=True):
        axes.scatter(one.macs, height, s=area * one.parameters, color=colours[one.data], alpha=0.5)
        axes.plot(one.macs, height, marker="+", color="black", markersize=4)
    # Names beside the blobs would write over each other: they stand in a column, in their order.
    ranked = sorted(zip(heights, networks, strict=True), key=lambda pair: (pair[0], pair[1].macs))
    for rank, (height, one) in enumerate(ranked):
        axes.annotate(
            one.recipe,
            (one.macs, height),
            (1.03, (rank + 0.5) / len(ranked)),
            textcoords="axes fraction",
            va="center",
            fontsize=7,
            arrowprops={"arrowstyle": "-", "color": "gray", "linewidth": 0.5},
        )
    axes.set(xscale="log", xlabel="multiply-adds a picture")
    axes.grid(alpha=0.3)
    axes.margins(0.2)

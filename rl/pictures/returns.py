"""How an agent's evaluations went while it learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure


def return_curve(history: Sequence[Sequence[float]], name: str) -> Figure:
    """Mean return over environment steps with its 95 % band, and the worst episode.

    Args:
        history: A row for each evaluation: steps, mean, half width of the interval, worst.
        name: Of the environment.
    """
    rows = np.array(history)  # (evaluations, 4)
    steps, mean, half, worst = rows.T
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    marker = "o" if len(rows) <= 30 else None
    axes.fill_between(steps, mean - half, mean + half, alpha=0.25, label="95 % of the mean")
    axes.plot(steps, mean, marker=marker, markersize=3, label="mean")
    axes.plot(steps, worst, color="gray", linewidth=0.8, label="worst episode")
    axes.set(title=f"{name}, without exploration", xlabel="environment steps", ylabel="return")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure

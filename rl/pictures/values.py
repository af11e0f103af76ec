"""Pictures of value functions: the error over time, values beside the truth, steps per episode.

Drawn without pyplot. S states, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..values.dynamic_programming import action_values
from ..values.tables import Table

MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # (right, down): up, right, down, left


def error_curves(curves: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Error against the truth over environment steps, one line per learner.

    Args:
        curves: Label -> rows that begin with environment steps and the error.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="environment steps")
    axes.set_ylabel("root mean square error over states")
    for number, (label, rows) in enumerate(curves.items()):
        steps, errors = np.array([row[:2] for row in rows], float).T
        axes.plot(steps, errors, color=f"C{number}", linewidth=1.5, label=label)
    axes.set_ylim(bottom=0)
    if len(curves) > 1:
        axes.legend(frameon=False)
    return figure


def episode_curves(lengths: Mapping[str, Sequence[float]]) -> Figure:
    """Steps of each episode, one line per learner.

    Args:
        lengths: Label -> steps of its first, second, ... episode.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="episode", ylabel="steps")
    for number, (label, steps) in enumerate(lengths.items()):
        axes.plot(range(1, len(steps) + 1), steps, color=f"C{number}", linewidth=1.5, label=label)
    axes.set_yscale("log")
    axes.legend(frameon=False)
    return figure


def value_picture(table: Table, truth: NDArray, learned: NDArray) -> Figure:
    """True and learned values: lines over a row of states, heat maps side by side over a grid.

    Args:
        table: Where the states lie.
        truth: (S,).
        learned: (S, A) values of actions, whose highest is a state's; or (S, 1).
    """
    shown = np.where(table.lived, truth, np.nan), np.where(table.lived, learned.max(1), np.nan)
    if len(table.shape) != 2:
        return _lines(*shown)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    known = np.concatenate([part[table.lived] for part in shown])
    limits = {"vmin": float(known.min()), "vmax": float(known.max())}
    pictures = figure.subplots(1, 2)
    for axes, title, values in zip(pictures, ("true", "learned"), shown, strict=True):
        image = axes.imshow(values.reshape(table.shape), cmap="viridis", **limits)
        axes.set(title=title, xticks=[], yticks=[], facecolor="dimgray")  # walls and ends
    figure.colorbar(image, ax=pictures, label="value")  # pyright: ignore[reportPossiblyUnboundVariable]
    if learned.shape[1] == len(MOVES) == table.num_actions and _are_moves(table):
        _arrows(pictures[0], table, action_values(table, truth, 1.0))
        _arrows(pictures[1], table, learned)
    return figure


def _lines(truth: NDArray, learned: NDArray) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="state", ylabel="value")
    axes.plot(truth, color="black", linestyle="--", linewidth=1, label="true")
    axes.plot(learned, color="C0", linewidth=1.5, label="learned")
    axes.legend(frameon=False)
    return figure


def _are_moves(table: Table) -> bool:
    """Whether actions 0 to 3 are up, right, down and left; FrozenLake has another order."""
    down_and_right = np.einsum("sat,td->sad", table.transitions, table.coordinates)
    drift = (down_and_right - table.coordinates[:, None])[table.lived].mean(0)  # (A, 2)
    return bool(drift[0, 0] < 0 < drift[2, 0] and drift[3, 1] < 0 < drift[1, 1])


def _arrows(axes: Any, table: Table, values: NDArray) -> None:
    """The best move of each state; none where all are equal."""
    told = table.lived & (np.ptp(values, 1) > 0)
    rows, columns = np.divmod(np.flatnonzero(told), table.shape[1])
    right, down = np.array(MOVES)[values[told].argmax(1)].T
    axes.quiver(
        columns, rows, right, -down, color="white", pivot="middle", scale=2 * table.shape[1]
    )

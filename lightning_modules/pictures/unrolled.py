"""The computational graph of a recurrent network, unrolled along time.

Deck, slides "RNN: Computational Graph" and "More RNN Structures". Arrows of one colour are one set
of weights, used at every step: dashed ones carry inputs upwards (W), solid ones states along time
(U). Drawn without pyplot. T time.
"""

from __future__ import annotations

from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..blocks.checks import require, require_one_of
from ..blocks.recurrent import RecurrentLayers

Readout = Literal["last", "mean", "each"]
Point = tuple[float, float]

SHOWN = 4  # columns of a long sequence: the first three steps and the last
ASIDE = 0.17  # how far the two directions stand from the middle of their column
GREY = "0.35"


def unrolled_graph(layers: RecurrentLayers, num_steps: int, readout: Readout = "last") -> Figure:
    """Inputs, states and outputs at the first steps and the last, and what feeds what.

    Args:
        layers: Their depth, directions, cell and sizes are drawn.
        num_steps: T, at least 1.
        readout: Which outputs of the top layer the result is made of: the `last` states, the
            `mean` of all, or a result of its own from `each`.

    Raises:
        ValueError: If `num_steps` is below 1 or the readout is unknown.
    """
    require(num_steps >= 1, "num_steps", "at least 1", num_steps)
    require_one_of("readout", readout, ("last", "mean", "each"))
    columns = _columns(num_steps)
    levels = layers.num_layers * layers.num_directions + 2  # inputs below, results on top
    width = 2.2 + 1.1 * (max(columns.values()) + 1)
    figure = Figure(figsize=(width, 1.5 + 0.85 * levels), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    axes.set_axis_off()
    axes.margins(0.02)
    below = {step: [_node(axes, (x, 0), f"$x_{{{step}}}$", "0.92")] for step, x in columns.items()}
    for layer in range(layers.num_layers):
        below = _layer(axes, layers, layer, columns, below)
    if num_steps > SHOWN:
        for level in range(levels - 1):
            blank = {"facecolor": "white", "edgecolor": "none", "pad": 2}
            place = (SHOWN - 1, level)
            axes.text(*place, "$\\cdots$", ha="center", va="center", bbox=blank, zorder=5)
    _results(axes, readout, columns, below, levels - 1)
    legend = [_legend_line(layers, *which) for which in _sets(layers)]
    figure.legend(handles=legend, loc="outside lower center", fontsize=8, frameon=False)
    cell = {"rnn": "plain cell", "gru": "GRU", "lstm": "LSTM"}[layers.cell]
    figure.suptitle(f"{cell}, {num_steps} steps, the same weights at each", fontsize=10)
    return figure


def _columns(num_steps: int) -> dict[int, float]:
    """Step (from 1) -> where its column stands; a gap for the steps that are left out."""
    if num_steps <= SHOWN:
        return {step: float(step - 1) for step in range(1, num_steps + 1)}
    first = {step: float(step - 1) for step in range(1, SHOWN)}
    return first | {num_steps: float(SHOWN)}


def _sets(layers: RecurrentLayers) -> list[tuple[int, int]]:
    """Layer and direction of each set of weights, from below."""
    return [(n, d) for n in range(layers.num_layers) for d in range(layers.num_directions)]


def _colour(layers: RecurrentLayers, layer: int, direction: int) -> str:
    return f"C{(layer * layers.num_directions + direction) % 10}"


def _layer(
    axes: Axes,
    layers: RecurrentLayers,
    layer: int,
    columns: dict[int, float],
    below: dict[int, list[Point]],
) -> dict[int, list[Point]]:
    """Draw one layer's states; returns where those of each step stand."""
    made: dict[int, list[Point]] = {step: [] for step in columns}
    for direction in range(layers.num_directions):
        level = layer * layers.num_directions + direction + 1
        aside = 0.0 if layers.num_directions == 1 else ASIDE * (2 * direction - 1)
        colour = _colour(layers, layer, direction)
        row = [(x + aside, float(level)) for x in columns.values()]
        upper = f"^{{({layer + 1})}}" if layers.num_layers > 1 else ""
        for step, place in zip(columns, row, strict=True):
            _node(axes, place, f"$h{upper}_{{{step}}}$", "white", colour)
            made[step].append(place)
            for source in below[step]:
                _arrow(axes, source, place, colour, dashed=True)
        _chain(axes, row, colour, backwards=bool(direction))
    return made


def _chain(axes: Axes, row: list[Point], colour: str, backwards: bool) -> None:
    """States along time, from the zeros before the first step that is read."""
    row = row[::-1] if backwards else row
    start = (row[0][0] + (0.75 if backwards else -0.75), row[0][1])
    axes.text(*start, "0", ha="center", va="center", fontsize=8, color=colour)
    axes.plot(*start, alpha=0)
    for one, other in zip([start, *row], row, strict=False):
        _arrow(axes, one, other, colour)


def _results(
    axes: Axes,
    readout: Readout,
    columns: dict[int, float],
    top: dict[int, list[Point]],
    level: float,
) -> None:
    """Draw what is said, and which states it is made of."""
    steps = list(columns)
    if readout == "each":
        for step, x in columns.items():
            result = _node(axes, (x, level), f"$y_{{{step}}}$", "0.92")
            for source in top[step]:
                _arrow(axes, source, result, GREY)
        return
    last, first = steps[-1], steps[0]
    result = _node(axes, (columns[last], level), "$y$", "0.92")
    if readout == "mean":
        sources = [place for step in steps for place in top[step]]
    else:  # the reverse direction has read all when it is at the first step
        sources = [top[step][d] for d, step in enumerate((last, first)[: len(top[last])])]
    for source in sources:
        _arrow(axes, source, result, GREY)


def _node(axes: Axes, place: Point, text: str, face: str, edge: str = GREY) -> Point:
    style = {"boxstyle": "circle,pad=0.25", "facecolor": face, "edgecolor": edge}
    axes.text(*place, text, ha="center", va="center", fontsize=8, bbox=style, zorder=4)
    axes.plot(*place, alpha=0)  # so that the axes know how far the picture goes
    return place


def _arrow(axes: Axes, source: Point, target: Point, colour: str, dashed: bool = False) -> None:
    style = {
        "arrowstyle": "->",
        "color": colour,
        "linestyle": "--" if dashed else "-",
        "shrinkA": 9,
        "shrinkB": 11,
    }
    axes.annotate("", target, source, arrowprops=style, zorder=3)


def _legend_line(layers: RecurrentLayers, layer: int, direction: int) -> Line2D:
    """The colour of one set of weights with its shapes."""
    weights = layers.weights(layer, bool(direction))
    w, u = (" x ".join(map(str, part.shape)) for part in weights[:2])
    name = f"layer {layer + 1}"
    if layers.num_directions == 2:
        name += ", backwards" if direction else ", forwards"
    label = f"{name}: W {w} (dashed), U {u}"
    return Line2D([], [], color=_colour(layers, layer, direction), label=label)

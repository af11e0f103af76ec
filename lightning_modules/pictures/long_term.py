"""Where recurrent networks stop to connect what lies far apart: error over the sequence's length.

Deck, slide "Long-Term Dependencies Problem". Drawn without pyplot.
"""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

NAMES = {"rnn": "plain RNN", "gru": "GRU", "lstm": "LSTM"}
MARKERS = "osD^v"


def error_over_length(results: Mapping[str, Mapping[int, float]], guess: float) -> Figure:
    """One line per cell, and what the best constant gets as a dashed one.

    Args:
        results: Cell -> length of the sequences -> mean squared error after training, > 0.
        guess: Mean squared error of the best constant, > 0.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    lengths = sorted({length for errors in results.values() for length in errors})
    for number, (cell, errors) in enumerate(results.items()):
        at = sorted(errors)
        heights = [errors[length] for length in at]
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(at, heights, marker=marker, color=f"C{number}", label=NAMES.get(cell, cell))
    label = f"always the same number: {guess:.3f}"
    axes.axhline(guess, color="black", linestyle="--", linewidth=1, label=label)
    axes.set(xscale="log", yscale="log", xlabel="length of the sequence in steps")
    axes.set_ylabel("mean squared error after training")
    axes.set_xticks(lengths, map(str, lengths))
    axes.minorticks_off()
    figure.legend(loc="outside upper center", ncols=2, frameon=False)  # lines go everywhere
    return figure

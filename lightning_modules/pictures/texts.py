"""Pictures of texts, drawn without pyplot."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

LINE = 90  # characters


def wrongest_texts(
    texts: Sequence[str], losses: Sequence[float], names: Sequence[tuple[str, str]]
) -> Figure:
    """Texts that were taken for another class, the most wrong first.

    Args:
        texts: N texts.
        losses: Cross entropy of each, in nats.
        names: True and predicted class of each.
    """
    lines: list[str] = []
    for text, loss, (true, taken) in zip(texts, losses, names, strict=True):
        lines += [f"{true} as {taken}, {loss:.2g} nats:"]
        lines += [f"    {line}" for line in textwrap.wrap(text, LINE)] or ["    (nothing)"]
    return text_figure("\n".join(lines))


def text_figure(text: str) -> Figure:
    """A text as it is, in letters of one width."""
    lines = text.split("\n")
    size = (0.085 * max(map(len, lines)) + 0.3, 0.17 * len(lines) + 0.3)
    figure = Figure(figsize=size)
    plain = text.replace("$", r"\$")  # else it would be read as a formula
    figure.text(0.15 / size[0], 0.5, plain, va="center", family="monospace", fontsize=8)
    return figure

"""The picture of a character model: what it thought would come next, drawn without pyplot."""

from __future__ import annotations

from matplotlib.figure import Figure
from torch import Tensor

from ..data.sequences.character_vocabulary import CharacterVocabulary

ROWS = 20  # characters of the vocabulary that are shown, at most


def next_characters(text: str, chances: Tensor, vocabulary: CharacterVocabulary) -> Figure:
    """A column for each character of a text: the chances of those that may follow it.

    What did follow is marked with a dot.

    Args:
        text: T characters.
        chances: (T, V).
        vocabulary: Its V characters; the likeliest of this text are the rows.
    """
    likeliest = chances.sum(0).topk(min(ROWS, len(vocabulary))).indices.sort().values  # (rows,)
    rows = vocabulary.decode(likeliest)
    figure = Figure(figsize=(2 + 0.25 * len(text), 1.2 + 0.2 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    grid = axes.imshow(chances[:, likeliest].T.numpy(), aspect="auto", cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(text)), [_shown(character) for character in text])
    axes.set_yticks(range(len(rows)), [_shown(character) for character in rows])
    axes.set(xlabel="character read", ylabel="next character")
    dots = [(n, rows.index(c)) for n, c in enumerate(text[1:]) if c in rows]
    axes.plot(*zip(*dots, strict=True) if dots else ((), ()), "o", color="orange", markersize=3)
    figure.colorbar(grid, label="probability")
    return figure


def _shown(character: str) -> str:
    """The character as a label; one that leaves no mark is written as Python writes it."""
    if character == "$":
        return r"\$"
    return character if character.isprintable() and character != " " else repr(character)[1:-1]

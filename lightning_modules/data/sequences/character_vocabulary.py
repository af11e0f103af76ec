"""The characters that a language model knows, each with a number (slide "RNN: Character-level").

The vocabulary is the sorted set of the characters of the training part: what a model may know must
come from there. A character that only the validation or test part has is read as U+FFFD, Unicode's
sign for "some character". That sign is the last of the vocabulary, and only there where such
characters are. It is never trained, so each of them costs the loss what an unforeseen character
should, but it counts as one symbol, whichever it was.

N characters, V size of the vocabulary.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

UNKNOWN = "\ufffd"


@dataclass(frozen=True)
class CharacterVocabulary:
    """Numbers for characters, and back.

    Args:
        characters: The V characters in the order of their numbers, each once.

    Raises:
        ValueError: There is none, or one comes twice.
    """

    characters: str

    def __post_init__(self):
        if not self.characters or len(set(self.characters)) < len(self.characters):
            rule = "at least one character, and each once"
            raise ValueError(f"`vocabulary` must be {rule}, but is {self.characters!r}.")

    @classmethod
    def of(cls, training: str, *others: str) -> CharacterVocabulary:
        """The vocabulary of a training text, with U+FFFD where others have more characters."""
        known = set(training)
        unseen = not known.issuperset(itertools.chain(*others))
        return cls("".join(sorted(known - {UNKNOWN})) + UNKNOWN * (unseen or UNKNOWN in known))

    def __len__(self) -> int:
        """V."""
        return len(self.characters)

    @property
    def unknown(self) -> int | None:
        """The number of U+FFFD; None where every character is known."""
        return len(self) - 1 if self.characters[-1] == UNKNOWN else None

    @cached_property
    def _table(self) -> np.ndarray:
        """Unicode's number of a character -> ours; -1 where there is none."""
        points = np.array([ord(character) for character in self.characters])
        table = np.full(points.max() + 1, -1, np.int32)
        table[points] = np.arange(len(points), dtype=np.int32)
        return table

    def encode(self, text: str, name: str = "text") -> Tensor:
        """The numbers of a text's characters, (N,): uint8 where they fit, else int32.

        Args:
            text: N characters.
            name: What to call the text where it is refused.

        Raises:
            ValueError: A character is not of the vocabulary, and the vocabulary has no U+FFFD.
        """
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)  # (N,)
        within = points < len(self._table)
        numbers = np.where(within, self._table[np.where(within, points, 0)], -1)  # (N,)
        if (numbers < 0).any():
            if self.unknown is None:
                raise self.stranger(text, int((numbers < 0).argmax()), name)
            numbers[numbers < 0] = self.unknown
        small = len(self) <= 256
        return torch.from_numpy(numbers.astype(np.uint8 if small else np.int32))

    def encode_known(self, text: str, name: str) -> Tensor:
        """As `encode`, but a character that is not of the vocabulary is an error in any case.

        Raises:
            ValueError: A character is not of the vocabulary; it and its place are named.
        """
        place = next((n for n, c in enumerate(text) if c not in self.characters), None)
        if place is not None:
            raise self.stranger(text, place, name)
        return self.encode(text, name)

    def stranger(self, text: str, place: int, name: str) -> ValueError:
        """The error for the character at a place (from 0) that is not of the vocabulary."""
        error = ValueError(
            f"`{name}` must be made of the vocabulary's {len(self)} characters, "
            f"but is {text[place]!r} at place {place}."
        )
        error.add_note(f"the vocabulary is {self.characters!r}")
        return error

    def decode(self, numbers: Tensor) -> str:
        """The text of numbers (N,)."""
        return "".join(self.characters[number] for number in numbers.tolist())

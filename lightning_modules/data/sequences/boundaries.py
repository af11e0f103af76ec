"""Sequences whose every step has a tag that hangs on what comes later.

`word-boundaries`: tiny Shakespeare in small letters and without blanks; of each character it is
asked whether a word begins there. Whether "the" is a word or the start of "there" is told by the
letters that follow. `recurring-symbols`, made without files: does this symbol come again? Who reads
from left to right can only guess. N sequences, T time.
"""

from __future__ import annotations

import string
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ..arguments import drawn, whole_number
from ..order import derive_seed
from ..samples import Samples, Splits
from .text_sources import TINY_SHAKESPEARE
from .tokens import FIRST, TokenDataModule, encode

BLANK = np.frombuffer(b" \n", np.uint8)
LETTERS = tuple(string.ascii_lowercase + string.digits + string.punctuation)
HELD_OUT = 0.05  # share of the text for the validation, and again for the test


class WordBoundaries(TokenDataModule):
    """Where do words begin? The text in order: 90 % train, 5 % validation, 5 % test.

    Args:
        length: T, characters of a sequence; none is in two.
        batch_size: Training samples per step and process.
        drop_last: Leave out the training samples that do not fill a batch.
        data_dir: The folder that holds the file; default: the search of `files.py`, then a
            download.

    Attributes:
        alphabet: The characters of the tokens 2, 3, ...

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "word-boundaries"
    class_names = ("inside", "begins")
    alphabet = LETTERS
    source = TINY_SHAKESPEARE

    def __init__(
        self,
        length: int = 100,
        batch_size: int = 64,
        drop_last: bool = False,
        data_dir: str | None = None,
    ):
        self.length = whole_number("length", length, 2, 10_000)
        self.in_shape = (length,)
        super().__init__(batch_size, drop_last)
        self.data_dir = data_dir

    @property
    def vocab_size(self) -> int:
        """Values that a token may have."""
        return FIRST + len(self.alphabet)

    def prepare_data(self) -> None:
        """Find the file, or fetch it.

        Raises:
            FileNotFoundError: It is nowhere; the note says what gets it.
        """
        self.source.get(self.data_dir)

    def load(self) -> Splits:
        """Read the file and take its blanks out."""
        text = _text(self.source.get(self.data_dir))
        held_out = int(HELD_OUT * len(text))
        ends = (len(text) - 2 * held_out, len(text) - held_out, len(text))
        parts = (text[: ends[0]], text[ends[0] : ends[1]], text[ends[1] :])
        train, val, test = (boundary_samples(part, self.length) for part in parts)
        return Splits(train, val, test)


@lru_cache(maxsize=1)
def _text(folder: Path) -> str:
    (content,) = TINY_SHAKESPEARE.read(folder).values()
    return content.decode()


def without_blanks(text: str) -> tuple[str, np.ndarray]:
    """A text in small letters and without blanks, and where its words begin.

    Args:
        text: ASCII.

    Returns:
        Its characters other than blanks and line feeds, and for each whether one of those stood
        before it, bool; the first is the beginning of a word.
    """
    codes = np.frombuffer(text.lower().encode("ascii"), np.uint8)
    blank = np.isin(codes, BLANK)
    after_blank = np.concatenate((np.ones(1, bool), blank[:-1]))
    return codes[~blank].tobytes().decode("ascii"), after_blank[~blank]


def boundary_samples(text: str, length: int) -> Samples:
    """Sequences of characters and of tags, 1 where a word begins: (N, T) each.

    Args:
        text: ASCII; what does not fill the last sequence is left out.
        length: T.
    """
    characters, begins = without_blanks(text)
    count = len(characters) // length
    tokens = encode([characters], LETTERS, count * length).view(count, length)
    tags = torch.from_numpy(begins[: count * length]).long().view(count, length)
    return Samples(tokens, tags)


class RecurringSymbols(TokenDataModule):
    """Random rows of symbols, each tagged by whether it comes again.

    Args:
        length: T.
        num_symbols: Different symbols, at most 26.
        num_samples: Sequences to train on; a tenth as many for the validation, and again for the
            test.
        generator_seed: The sequences are a function of the arguments above and this.
        batch_size: Training samples per step and process.
        drop_last: Leave out the training samples that do not fill a batch.

    Attributes:
        alphabet: The characters of the tokens 2, 3, ...

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "recurring-symbols"
    class_names = ("last", "again")

    def __init__(
        self,
        length: int = 16,
        num_symbols: int = 8,
        num_samples: int = 4000,
        generator_seed: int = 0,
        batch_size: int = 64,
        drop_last: bool = False,
    ):
        self.length = whole_number("length", length, 2, 10_000)
        self.num_symbols = whole_number("num_symbols", num_symbols, 2, 26)
        self.alphabet = tuple(string.ascii_lowercase[:num_symbols])
        self.in_shape = (length,)
        super().__init__(batch_size, drop_last)
        self.num_samples, self.generator_seed = drawn(num_samples, generator_seed)

    @property
    def vocab_size(self) -> int:
        """Values that a token may have."""
        return FIRST + self.num_symbols

    def load(self) -> Splits:
        """Draw the sequences."""
        tenth = self.num_samples // 10
        sizes = {"train": self.num_samples, "val": tenth, "test": tenth}
        train, val, test = (self._draw(split, size) for split, size in sizes.items())
        return Splits(train, val, test)

    def _draw(self, split: str, count: int) -> Samples:
        rng = np.random.default_rng(derive_seed("recurring-symbols", split, self.generator_seed))
        symbols = rng.integers(0, self.num_symbols, (count, self.length))  # (N, T)
        tokens = torch.from_numpy((symbols + FIRST).astype(np.uint8))
        return Samples(tokens, torch.from_numpy(comes_again(symbols)).long())


def comes_again(symbols: np.ndarray) -> np.ndarray:
    """Whether the same number stands later in its row, bool like `symbols` (N, T)."""
    again = np.zeros(symbols.shape, bool)
    for step in range(symbols.shape[1] - 1):
        again[:, step] = (symbols[:, step + 1 :] == symbols[:, step, None]).any(1)
    return again

"""Texts with a class: which language it is in, and which of Shakespeare's characters says it.

Both are read letter by letter, as fixed lengths of tokens. `multi30k-language` takes the English
and the German side of Multi30k (Elliott et al. 2016), whose published splits stay apart.
`speakers` takes the speeches of tiny Shakespeare's most talkative characters. The text is cut into
blocks of consecutive speeches and a block goes to one split as a whole, so that no speech, and
hardly a scene, is in two. N samples, T time.
"""

from __future__ import annotations

import string
from functools import lru_cache
from pathlib import Path

import torch

from ..arguments import whole_number
from ..files import FileSource
from ..samples import Samples, Splits
from .multi30k_files import MULTI30K
from .text_sources import TINY_SHAKESPEARE
from .tokens import FIRST, TokenDataModule, encode

SPLITS = ("train", "val", "test")
BLOCK = 10  # speeches that stay together
# What both languages are written with; few letters of either text are missing.
ALPHABET = tuple(f"\n {string.digits}{string.punctuation}{string.ascii_letters}ÄÖÜäöüß")
# Shakespeare's characters who say most in the file, in letters.
SPEAKERS = (
    "GLOUCESTER",
    "DUKE VINCENTIO",
    "KING RICHARD II",
    "LEONTES",
    "CORIOLANUS",
    "ROMEO",
    "PETRUCHIO",
    "JULIET",
    "MENENIUS",
    "QUEEN MARGARET",
)
Texts = dict[str, tuple[list[str], list[int]]]  # split -> texts and their classes


class Sentences(TokenDataModule):
    """What sets of texts with a class share; each adds `read`.

    Args:
        length: T, characters that a text is cut or padded to.
        batch_size: Training samples per step and process.
        drop_last: Leave out the training samples that do not fill a batch.
        data_dir: The folder that holds the files; default: the search of `files.py`, then a
            download.

    Attributes:
        alphabet: The characters of the tokens 2, 3, ...
        source: The files.

    Raises:
        ValueError: An argument breaks its rule.
    """

    alphabet = ALPHABET
    source: FileSource

    def __init__(
        self,
        length: int,
        batch_size: int = 64,
        drop_last: bool = False,
        data_dir: str | None = None,
    ):
        self.length = whole_number("length", length, 1, 100_000)
        self.in_shape = (length,)
        super().__init__(batch_size, drop_last)
        self.data_dir = data_dir

    @property
    def vocab_size(self) -> int:
        """Values that a token may have."""
        return FIRST + len(self.alphabet)

    def read(self, folder: Path) -> Texts:
        """The texts and classes of each split."""
        raise NotImplementedError(f"{type(self).__name__} must define read().")

    def prepare_data(self) -> None:
        """Find the files, or fetch them.

        Raises:
            FileNotFoundError: They are nowhere; the note says what gets them.
        """
        self.source.get(self.data_dir)

    def load(self) -> Splits:
        """Read the files and write their texts as tokens."""
        texts = self.read(self.source.get(self.data_dir))
        train, val, test = (
            Samples(encode(lines, self.alphabet, self.length), torch.tensor(classes))
            for lines, classes in (texts[split] for split in SPLITS)
        )
        return Splits(train, val, test)

    def majority_share(self, split: str = "test") -> float:
        """The accuracy of who always says the split's most frequent class, in [0, 1]."""
        targets = getattr(self.splits, split).targets
        return float(torch.bincount(targets).max() / len(targets))


class Multi30kLanguage(Sentences):
    """English and German descriptions of the same pictures, 29,000 each to train on.

    Args:
        length: T, characters of a sentence that are shown, from its first.
        batch_size: Training samples per step and process.
        drop_last: Leave out the training samples that do not fill a batch.
        data_dir: The folder that holds the files; default: the search of `files.py`.
    """

    name = "multi30k-language"
    class_names = ("English", "German")
    source = MULTI30K

    def __init__(
        self,
        length: int = 64,
        batch_size: int = 64,
        drop_last: bool = False,
        data_dir: str | None = None,
    ):
        super().__init__(length, batch_size, drop_last, data_dir)

    def read(self, folder: Path) -> Texts:
        """The published splits; English first, then German."""
        return _languages(folder)


class Speakers(Sentences):
    """Who speaks in tiny Shakespeare: pieces of the speeches of the characters who speak most.

    No recipe reads it: about 80,000 letters to train on are too few for kernels that are learned.
    Over four splits of the training blocks `TextCNN` tells 45 % of five speakers (with batch norm,
    means beside the maxima or letters left out no more), logistic regression on weighted counts of
    2 to 5 letters 56 %.

    Args:
        num_speakers: Classes, at most 10: the characters with most letters to say.
        length: T, characters of a piece. Pieces of training speeches overlap: one begins at every
            quarter of `length`.
        batch_size: Training samples per step and process.
        drop_last: Leave out the training samples that do not fill a batch.
        data_dir: The folder that holds the file; default: the search of `files.py`.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "speakers"
    source = TINY_SHAKESPEARE

    def __init__(
        self,
        num_speakers: int = 5,
        length: int = 300,
        batch_size: int = 64,
        drop_last: bool = False,
        data_dir: str | None = None,
    ):
        self.num_speakers = whole_number("num_speakers", num_speakers, 2, len(SPEAKERS))
        self.class_names = SPEAKERS[:num_speakers]
        super().__init__(length, batch_size, drop_last, data_dir)

    def read(self, folder: Path) -> Texts:
        """Cut the speeches into pieces."""
        names = self.class_names
        texts: Texts = {split: ([], []) for split in SPLITS}
        for number, (speaker, speech) in enumerate(speeches_of(folder)):
            if speaker not in names:
                continue
            split = split_of_block(number // BLOCK)
            step = max(1, self.length // 4) if split == "train" else self.length
            cut = pieces(speech, self.length, step)
            texts[split][0].extend(cut)
            texts[split][1].extend([names.index(speaker)] * len(cut))
        return texts


def split_of_block(block: int) -> str:
    """Of ten blocks that follow each other one is for validation and two for the test."""
    return {4: "val", 2: "test", 7: "test"}.get(block % 10, "train")


def pieces(text: str, length: int, step: int) -> list[str]:
    """Pieces of a text that begin `step` characters apart; the last reaches the end.

    A shorter text is one piece.
    """
    starts = range(0, max(len(text) - length, 0) + step, step)
    return [text[start : start + length] for start in starts if start < max(len(text), 1)]


def parse_speeches(text: str) -> list[tuple[str, str]]:
    """Speaker and speech of each paragraph "NAME:", a line feed, and what is said."""
    paragraphs = (part.strip().partition("\n") for part in text.split("\n\n"))
    return [
        (name[:-1], speech)
        for name, _, speech in paragraphs
        if name.endswith(":") and speech.strip()
    ]


@lru_cache(maxsize=1)
def speeches_of(folder: Path) -> list[tuple[str, str]]:
    """Speaker and speech, in the order of the file."""
    (content,) = TINY_SHAKESPEARE.read(folder).values()
    return parse_speeches(content.decode())


@lru_cache(maxsize=1)
def _languages(folder: Path) -> Texts:
    contents = MULTI30K.read(folder)
    texts: Texts = {}
    for split, file in zip(SPLITS, ("train", "val", "test_2016_flickr"), strict=True):
        english, german = (
            contents[f"{file}.{side}"].decode().splitlines() for side in ("en", "de")
        )
        texts[split] = english + german, [0] * len(english) + [1] * len(german)
    return texts

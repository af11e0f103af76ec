"""Texts for character language models: what the data modules of `texts.py` share.

Slide "RNN: Character-level". A text is split in its own order: first what is trained on, then what
is validated on, then the test. A batch is a window of T characters of each of B streams, and as
targets the characters that come after each, see `streams.py`.
N characters, B streams, T characters in a window, V size of the vocabulary.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arguments import whole_number, wrong
from ..placed_batches import PlacedBatches
from ..run_share import process_share, run_seed
from .character_vocabulary import CharacterVocabulary
from .streams import EvaluationStreams, StreamLoader, TrainingStreams


class Parts(NamedTuple):
    """A text in its three parts; `val` may be empty, and then nothing is validated."""

    train: str
    val: str
    test: str


class Characters(PlacedBatches):
    """What texts share; each adds one method, `load`.

    Args:
        batch_size: B, the streams of one process.
        window: T, over which gradients flow back.

    Attributes:
        name: The catalog's name.
        characters: The vocabulary in its order, where it is known before the text is read.
        prompt: What samples begin with, unless told otherwise.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name: str | None = None
    characters: str = ""
    prompt: str = "\n"

    def __init__(self, batch_size: int = 64, window: int = 128):
        super().__init__()
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.window = whole_number("window", window, 1)

    def load(self) -> Parts:
        """Read the text; called once, after `prepare_data` or before."""
        raise NotImplementedError(f"{type(self).__name__} must define load().")

    @cached_property
    def parts(self) -> Parts:
        """The text, read and checked.

        Raises:
            ValueError: The training part has no window, or another part nothing to predict.
        """
        parts = self.load()
        self._check_window(len(parts.train) - 1, self.batch_size)
        for name, text in (("val", parts.val), ("test", parts.test)):
            if len(text) == 1 or (name == "test" and not text):
                raise wrong("text", f"long enough for two characters in its {name} part", text)
        return parts

    def _check_window(self, num_targets: int, streams: int) -> None:
        if num_targets < streams:
            rule = f"at most the {num_targets} characters that can be predicted, over all processes"
            raise wrong("batch_size", rule, streams)
        if (most := num_targets // streams) < self.window:
            rule = f"at most {most} for {streams} streams of a text of {num_targets + 1} characters"
            raise wrong(
                "window", rule, self.window, "take fewer streams (`batch_size`), or more text"
            )

    # What models follow.

    @cached_property
    def coder(self) -> CharacterVocabulary:
        """The vocabulary, which encodes and decodes."""
        return CharacterVocabulary(
            self.characters or CharacterVocabulary.of(*self.parts).characters
        )

    @property
    def vocabulary(self) -> str:
        """The V characters in the order of their numbers."""
        return self.coder.characters

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.coder)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input, (T,)."""
        return (self.window,)

    # What is known of the text.

    @cached_property
    def encoded(self) -> dict[str, Tensor]:
        """The numbers of each part's characters, (N,)."""
        return {name: self.coder.encode(text, name) for name, text in self.parts._asdict().items()}

    @property
    def num_train(self) -> int:
        """Characters of the training part."""
        return len(self.parts.train)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the training part in UTF-8."""
        return hashlib.sha256(self.parts.train.encode()).hexdigest()

    def prepare_data(self) -> None:
        """Read and check the text.

        Raises:
            OSError: It is nowhere, or cannot be read.
            ValueError: It is damaged, no UTF-8, or too short.
        """
        _ = self.parts

    def setup(self, stage: str | None = None) -> None:
        """Number the characters once, whatever the stage.

        Raises:
            ValueError: The text has no window for every stream of every process.
        """
        self._check_window(
            len(self.parts.train) - 1, self.batch_size * process_share()["world_size"]
        )
        _ = self.encoded

    def train_dataloader(self) -> StreamLoader:
        """The windows of B streams that begin at another place each epoch."""
        sequence = self._placed("train")
        order = TrainingStreams(
            len(sequence), self.batch_size, self.window, seed=run_seed(), **process_share()
        )
        return StreamLoader(sequence, order)

    def val_dataloader(self) -> StreamLoader | list[Any]:
        """All of the validation part; an empty list, no validation, without one."""
        return self._evaluation("val") if self.parts.val else []

    def test_dataloader(self) -> StreamLoader:
        """All of the test part."""
        return self._evaluation("test")

    def predict_dataloader(self) -> StreamLoader:
        """All of the test part: (inputs, targets) as everywhere."""
        return self._evaluation("test")

    def _evaluation(self, part: str) -> StreamLoader:
        sequence = self._placed(part)
        return StreamLoader(sequence, EvaluationStreams(len(sequence), **process_share()))

    def _placed(self, part: str) -> Tensor:
        """A part's numbers in the device's memory, where even large books are small."""
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        return self.encoded[part].to(device)

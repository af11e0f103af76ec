"""What sets of tokens share: bytes in memory, whole numbers in a batch, nothing normalised.

Vocabularies of up to 256 tokens (characters, nodes of trees) are stored as bytes, an eighth of what
embeddings want to be indexed with, and become int64 one batch at a time.
N samples, B batch, T time, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..loader import TensorLoader
from ..order import BatchOrder
from ..samples import Samples
from ..tensors import TensorDataModule

PADDING = 0  # the token after the end of a text
UNKNOWN = 1  # any character outside the alphabet
FIRST = 2  # the first character's token
REPLACEMENT = "?"  # how an unknown character is written


class TokenDataModule(TensorDataModule):
    """Inputs are tokens: stored as uint8, handed out as int64; targets (N,) or (N, T).

    Args:
        batch_size: Training samples per step and process. Evaluation uses at least 1000.
        drop_last: Leave out the training samples that do not fill a batch.

    Raises:
        ValueError: An argument breaks its rule.
    """

    def __init__(self, batch_size: int = 64, drop_last: bool = False):
        super().__init__(batch_size, None, drop_last)

    def _make_loader(self, samples: Samples, order: BatchOrder, **parts: object) -> TensorLoader:
        parts["normalization"] = Tensor.long  # what a batch goes through on its way
        return super()._make_loader(samples, order, **parts)


def encode(texts: Sequence[str], alphabet: Sequence[str], length: int) -> Tensor:
    """Texts as tokens, each cut or padded to one length.

    Args:
        texts: N texts.
        alphabet: At most 254 characters; the first has the token 2.
        length: T.

    Returns:
        (N, T) uint8: 0 after a text's end, 1 for characters outside the alphabet.
    """
    token = {character: FIRST + number for number, character in enumerate(alphabet)}
    tokens = np.full((len(texts), length), PADDING, np.uint8)
    for row, text in zip(tokens, texts, strict=True):
        known = [token.get(character, UNKNOWN) for character in text[:length]]
        row[: len(known)] = known
    return torch.from_numpy(tokens)  # (N, T)


def decode(tokens: Sequence[int], alphabet: Sequence[str]) -> str:
    """The text of tokens (T,), without what pads it."""
    symbols = ["", REPLACEMENT, *alphabet]
    return "".join(symbols[token] for token in tokens)

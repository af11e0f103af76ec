"""The network that spells pictures: a convolutional encoder and a recurrent decoder of letters.

Vinyals et al. 2015, "Show and Tell: A Neural Image Caption Generator", section 3; how it is trained
is in `spell.py`. Words are rows of numbers that END fills up.
B batch, C channels, H x W picture, T letters of the longest word and END, V letters and END, E
numbers of a letter's embedding, S units of a state, K words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .blocks.recurrent import Cell, RecurrentLayers
from .cnn import ConvolutionalNetwork

END = 0  # before the first letter and after the last


class SpellingNetwork(nn.Module):
    """A convolutional encoder, whose code is the first state of a recurrent decoder.

    Args:
        in_shape: (C, H, W) of a picture.
        num_symbols: V.
        num_steps: T.
        channels: Channels of the encoder's stages.
        hidden_size: S, units of the state and numbers of the code.
        embedding_size: E.
        cell: `rnn`, `gru` or `lstm`.
        dropout: Share of the decoder's outputs silenced while training, in [0, 1).
        weight_init: How the encoder's weights start.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_symbols: int,
        num_steps: int,
        channels: Sequence[int] = (16, 32),
        hidden_size: int = 64,
        embedding_size: int = 16,
        cell: Cell = "gru",
        dropout: float = 0.0,
        weight_init: WeightInit = "kaiming",
    ):
        super().__init__()
        style = LayerStyle(batch_norm=True, weight_init=weight_init)
        self.encoder = ConvolutionalNetwork(
            in_shape, hidden_size, channels, head="flatten", style=style
        )
        self.embedding = nn.Embedding(num_symbols, embedding_size)
        self.decoder = RecurrentLayers(embedding_size, hidden_size, cell)
        self.dropout = nn.Dropout(dropout)
        self.scores = LayerStyle(weight_init="xavier").scores(hidden_size, num_symbols)
        self.num_steps = num_steps

    def first_state(self, x: Tensor) -> Any:
        """The decoder's state before the first letter, (1, B, S); an LSTM's memory is empty."""
        h = self.encoder(x).tanh().unsqueeze(0)  # (1, B, S)
        return (h, torch.zeros_like(h)) if self.decoder.cell == "lstm" else h

    def forward(self, x: Tensor, letters: Tensor) -> Tensor:
        """Scores of each letter given the true ones before it.

        Args:
            x: Pictures (B, C, H, W).
            letters: The words, (B, T) int64, END after the last letter.

        Returns:
            (B, T, V).
        """
        before = F.pad(letters[:, :-1], (1, 0), value=END)  # (B, T)
        outputs, _ = self.decoder(self.embedding(before), self.first_state(x))
        return self.scores(self.dropout(outputs))

    def spell(self, x: Tensor) -> Tensor:
        """Scores (B, T, V) of each letter given those that the network said itself, the best."""
        state, said = self.first_state(x), x.new_full((len(x), 1), END, dtype=torch.long)
        steps: list[Tensor] = []
        for _ in range(self.num_steps):
            output, state = self.decoder(self.embedding(said), state)  # (B, 1, S)
            steps.append(self.scores(self.dropout(output)))
            said = steps[-1].argmax(2)  # (B, 1)
        return torch.cat(steps, 1)


def letter_table(words: Sequence[str], letters: Sequence[str]) -> Tensor:
    """Words as numbers, (K, T) int64: the n-th letter is n, from 1; END after a word's last."""
    number = {letter: place for place, letter in enumerate(letters, start=1)}
    table = torch.full((len(words), 1 + max(map(len, words))), END)
    for row, word in zip(table, words, strict=True):
        row[: len(word)] = torch.tensor([number[letter] for letter in word])
    return table


def counted(letters: Tensor) -> Tensor:
    """The steps that count, bool like `letters` (B, T): each letter and the first END."""
    return F.pad(letters[:, :-1] != END, (1, 0), value=True)

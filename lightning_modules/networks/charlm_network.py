"""The network of the character language model: vectors for characters, recurrent layers, scores.

Deck, slide "RNN: Character-level", whose vectors are one-hot. Dropout is on what goes into and
comes out of the layers, never on the way through time (Zaremba et al. 2014, section 3.1);
the output layer may share the embedding's weights (Press and Wolf 2017).
B streams, T characters of a window, V characters of the vocabulary, D embedding, H units.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks.checks import require
from ..blocks.initializers import WeightInit, init_weights
from ..blocks.recurrent import Cell, RecurrentLayers, State


class CharLMNetwork(nn.Module):
    """Characters as vectors, recurrent layers, an affine map to scores.

    Args:
        vocab_size: V.
        embedding_size: D; 0: one-hot vectors of size V, as on the slide.
        hidden_size: H.
        num_layers: Recurrent layers.
        cell: `rnn`, `gru` or `lstm`.
        dropout: Share of vectors and outputs silenced while training, in [0, 1).
        tied: Let the output layer's weights be the embedding's; D is then H.
        weight_init: How the weights start; embeddings start as N(0, 1 / D).

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int = 64,
        hidden_size: int = 256,
        num_layers: int = 1,
        cell: Cell = "lstm",
        dropout: float = 0.0,
        tied: bool = False,
        weight_init: WeightInit = "orthogonal",
    ):
        super().__init__()
        require(embedding_size >= 0, "embedding_size", "0 or above", embedding_size)
        rule = f"{hidden_size}, the `hidden_size`, where `tied` is true"
        require(not tied or embedding_size == hidden_size, "embedding_size", rule, embedding_size)
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, embedding_size) if embedding_size else None
        between = dropout if num_layers > 1 else 0.0
        self.layers = RecurrentLayers(
            embedding_size or vocab_size,
            hidden_size,
            cell,
            num_layers,
            dropout=between,
            weight_init=weight_init,
        )
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, vocab_size)
        init_weights(self.output, weight_init)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=embedding_size**-0.5)
            if tied:
                self.output.weight = self.embedding.weight

    def forward(
        self, characters: Tensor, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Read windows.

        Args:
            characters: Their numbers, int64 (B, T).
            state: Where the layers start; default: zeros.

        Returns:
            Scores of the next characters (B, T, V), the top layer's outputs (B, T, H) and the state
            after the last character.
        """
        if self.embedding is None:
            vectors = F.one_hot(characters, self.vocab_size).to(self.output.weight.dtype)
        else:
            vectors = self.embedding(characters)  # (B, T, D)
        outputs, end = self.layers(self.dropout(vectors), state)
        return self.output(self.dropout(outputs)), outputs, end

"""Encoder and decoder with attention: a sentence is read in both directions, then said anew.

Luong, Pham and Manning 2015, "Effective Approaches to Attention-based Neural Machine Translation":
the decoder's state asks the encoder's outputs (global attention, section 3.1), and what it reads
joins the state (equation 5). With `input_feeding` (section 3.3) the result enters the next step, so
steps must be computed one after the other; without it a whole target goes through one fused pass.
From Bahdanau, Cho and Bengio 2015 are the encoder of two directions and the decoder's start from
where the backward one ends (appendix A.2.2; here from both ends). Ours differs in that the
directions are separate layers: the backward one reads each sentence from its own last word, so that
padding has no effect.
B batch, S units of a source, T of a target, E embedding, H units, L layers, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..blocks.attention import Attention, Score
from ..blocks.checks import require
from ..blocks.initializers import WeightInit, init_weights
from ..blocks.recurrent import Cell, RecurrentLayers, State
from ..data.sequences.subwords import BEGIN, PAD, UNKNOWN

EMBEDDING_STD = 0.1


@dataclass(frozen=True)
class Memory:
    """What was read: outputs (B, S, H), keys of the attention, mask (B, S), summary (B, H)."""

    outputs: Tensor
    keys: Tensor
    mask: Tensor
    summary: Tensor

    def repeated(self, times: int) -> Memory:
        """Each row several times, one after the other."""
        parts = (self.outputs, self.keys, self.mask, self.summary)
        return Memory(*(part.repeat_interleave(times, 0) for part in parts))


@dataclass(frozen=True)
class DecoderState:
    """The decoder's layers (L, B, H), of an LSTM a pair, and its latest answer (B, E)."""

    layers: State
    answer: Tensor

    def select(self, rows: Tensor) -> DecoderState:
        """The rows with these numbers, (N,) int64."""
        if isinstance(self.layers, tuple):
            h, c = (part.index_select(1, rows) for part in self.layers)
            return DecoderState((h, c), self.answer.index_select(0, rows))
        return DecoderState(self.layers.index_select(1, rows), self.answer.index_select(0, rows))


def reverse_within(x: Tensor, lengths: Tensor) -> Tensor:
    """Turn the first `lengths` (B,) steps of x (B, S, D) round; what follows stays."""
    steps = torch.arange(x.shape[1], device=x.device)  # (S,)
    turned = lengths.unsqueeze(1) - 1 - steps  # (B, S)
    index = torch.where(turned >= 0, turned, steps)
    return x.gather(1, index.unsqueeze(2).expand_as(x))


class Encoder(nn.Module):
    """Reads sources in both directions; each layer's outputs are those of both, side by side.

    Args:
        vocab_size: V of the sources.
        embedding_size: E.
        hidden_size: H, even: half of it in each direction.
        num_layers: L.
        cell: `rnn`, `gru` or `lstm`.
        dropout: Share of the inputs of each layer silenced while training.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_size: int,
        hidden_size: int,
        num_layers: int,
        cell: Cell,
        dropout: float,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        widths = [embedding_size] + [hidden_size] * (num_layers - 1)
        half = hidden_size // 2
        self.forwards = nn.ModuleList(RecurrentLayers(width, half, cell) for width in widths)
        self.backwards = nn.ModuleList(RecurrentLayers(width, half, cell) for width in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read sources (B, S); returns outputs (B, S, H), mask (B, S) and the ends (B, H).

        The ends are the forward direction's output at the last word and the backward one's at the
        first.
        """
        mask = source != PAD
        mask[:, 0] = True  # a row of padding alone would have nothing to look at
        lengths = mask.sum(1)
        x = self.embedding(source)
        for forwards, backwards in zip(self.forwards, self.backwards, strict=True):
            x = self.dropout(x)
            left, _ = forwards(x)
            right, _ = backwards(reverse_within(x, lengths))
            x = torch.cat((left, reverse_within(right, lengths)), 2)  # (B, S, H)
        left, right = x.chunk(2, 2)
        last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, left.shape[2])
        ends = torch.cat((left.gather(1, last).squeeze(1), right[:, 0]), 1)  # (B, H)
        return x, mask, ends


class EncoderDecoder(nn.Module):
    """Says a target, unit by unit, while looking at the source.

    Args:
        source_vocab_size: V of the sources.
        target_vocab_size: V of the targets.
        embedding_size: E, also the size of what the decoder answers with at each step.
        hidden_size: H, even.
        num_layers: L of encoder and decoder.
        cell: `rnn`, `gru` or `lstm`.
        score: Of the attention.
        input_feeding: Whether an answer enters the next step.
        tied_embeddings: Whether targets are embedded by the weights that score them (Press and
            Wolf 2017).
        dropout: Share of the inputs of each layer, and of the answers, silenced while training.
        weight_init: How the linear maps start; recurrent ones start orthogonal.
        weight_init_std: Standard deviation of `normal`.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        source_vocab_size: int,
        target_vocab_size: int,
        embedding_size: int = 256,
        hidden_size: int = 512,
        num_layers: int = 1,
        cell: Cell = "lstm",
        score: Score = "general",
        input_feeding: bool = False,
        tied_embeddings: bool = True,
        dropout: float = 0.0,
        weight_init: WeightInit = "xavier",
        weight_init_std: float = 0.01,
    ):
        super().__init__()
        even = hidden_size >= 2 and hidden_size % 2 == 0
        require(even, "hidden_size", "an even number of at least 2", hidden_size)
        require(embedding_size >= 1, "embedding_size", "at least 1", embedding_size)
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        require(num_layers >= 1, "num_layers", "at least 1", num_layers)
        shape = (embedding_size, hidden_size, num_layers)
        self.encoder = Encoder(source_vocab_size, *shape, cell, dropout)
        self.embedding = nn.Embedding(target_vocab_size, embedding_size)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        self.start = nn.Linear(hidden_size, num_layers * hidden_size)
        between = dropout if num_layers > 1 else 0.0
        width = embedding_size * (2 if input_feeding else 1)
        self.layers = RecurrentLayers(width, hidden_size, cell, num_layers, False, between)
        init = (weight_init, weight_init_std)
        self.attention = Attention(hidden_size, hidden_size, score, None, *init)
        self.answer = nn.Linear(2 * hidden_size, embedding_size, bias=False)
        self.scores = nn.Linear(embedding_size, target_vocab_size)
        for layer in (self.start, self.answer, self.scores):
            init_weights(layer, weight_init, std=weight_init_std)
        if tied_embeddings:
            self.scores.weight = self.embedding.weight
        self.dropout, self.input_feeding = nn.Dropout(dropout), input_feeding
        self.num_layers, self.is_lstm = num_layers, cell == "lstm"

    def read(self, source: Tensor) -> Memory:
        """Read sources (B, S) int64, padded on the right."""
        outputs, mask, ends = self.encoder(source)
        return Memory(outputs, self.attention.keys(outputs), mask, ends)

    def begin(self, memory: Memory) -> DecoderState:
        """The decoder's state before its first step."""
        h = torch.tanh(self.start(memory.summary))  # (B, L H)
        h = h.view(len(h), self.num_layers, -1).transpose(0, 1).contiguous()  # (L, B, H)
        nothing = h.new_zeros(h.shape[1], self.answer.out_features)
        return DecoderState((h, torch.zeros_like(h)) if self.is_lstm else h, nothing)

    def forward(self, source: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Score each next unit, given the true ones before it (teacher forcing).

        Args:
            source: (B, S) int64, padded on the right.
            inputs: Targets without their last unit, (B, T) int64.

        Returns:
            Scores (B, T, V) and the attention's weights (B, T, S).
        """
        memory = self.read(source)
        state, x = self.begin(memory), self.dropout(self.embedding(inputs))
        if not self.input_feeding:
            answers, weights, _ = self._advance(x, state, memory)
            return self.scores(self.dropout(answers)), weights
        steps = []
        for t in range(inputs.shape[1]):
            answer, weights, state = self._advance(x[:, t : t + 1], state, memory)
            steps.append((answer, weights))
        answers, weights = (torch.cat(parts, 1) for parts in zip(*steps, strict=True))
        return self.scores(self.dropout(answers)), weights

    def step(
        self, latest: Tensor, state: DecoderState, memory: Memory
    ) -> tuple[Tensor, DecoderState]:
        """One step of a search: units (N,) to log p of the next (N, V) and the next state.

        Padding, the beginning and the unknown unit are never said.
        """
        x = self.embedding(latest).unsqueeze(1)  # (N, 1, E)
        answer, _, state = self._advance(x, state, memory)
        scores = self.scores(answer.squeeze(1))  # (N, V)
        scores[:, [PAD, UNKNOWN, BEGIN]] = float("-inf")
        return scores.log_softmax(1), state

    def _advance(
        self, x: Tensor, state: DecoderState, memory: Memory
    ) -> tuple[Tensor, Tensor, DecoderState]:
        """Answers (B, T, E) to embedded units (B, T, E), the weights (B, T, S), the state after."""
        if self.input_feeding:
            x = torch.cat((x, state.answer.unsqueeze(1)), 2)  # (B, 1, 2 E)
        h, layers = self.layers(x, state.layers)  # (B, T, H)
        h = self.dropout(h)
        context, weights = self.attention(h, memory.outputs, memory.keys, memory.mask)
        answers = torch.tanh(self.answer(torch.cat((context, h), 2)))  # (B, T, E)
        return answers, weights, DecoderState(layers, answers[:, -1])

"""Attention: which parts of a memory a query looks at, and what it reads there.

`dot` and `general`: Luong, Pham and Manning 2015, "Effective Approaches to Attention-based Neural
Machine Translation", section 3.1 (global attention); `additive`: Bahdanau, Cho and Bengio 2015,
"Neural Machine Translation by Jointly Learning to Align and Translate", appendix A.1.2. All queries
of a batch are answered at once.
B batch, T queries, S places of the memory, Q and M numbers in a query and in a place, A units.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .checks import require, require_one_of
from .initializers import WeightInit, init_weights

Score = Literal["dot", "general", "additive"]
SCORES = ("dot", "general", "additive")


class Attention(nn.Module):
    """Reads a weighted mean of the memory; the weights are the softmax of a score.

    | score | of query q and place m |
    |---|---|
    | `dot` | q . m |
    | `general` | q . W m |
    | `additive` | v . tanh(U q + W m) |

    Args:
        query_size: Q.
        memory_size: M; with `dot` it must be Q.
        score: How well a query and a place go together.
        num_units: A, of `additive`; default: Q.
        weight_init: How W and U start; v starts as a row of `xavier`.
        weight_init_std: Standard deviation of `normal`.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    def __init__(
        self,
        query_size: int,
        memory_size: int,
        score: Score = "general",
        num_units: int | None = None,
        weight_init: WeightInit = "xavier",
        weight_init_std: float = 0.01,
    ):
        super().__init__()
        require_one_of("score", score, SCORES)
        equal = score != "dot" or query_size == memory_size
        require(equal, "memory_size", f"{query_size}, as the query, with `dot`", memory_size)
        idle = num_units is not None and score != "additive"
        require(not idle, "num_units", "left out unless `score` is additive", num_units)
        self.score = score
        units = query_size if num_units is None else num_units
        require(units >= 1, "num_units", "at least 1", units)
        if score != "dot":
            self.key = nn.Linear(memory_size, units if score == "additive" else query_size, False)
            init_weights(self.key, weight_init, std=weight_init_std)
        if score == "additive":
            self.query = nn.Linear(query_size, units, bias=False)
            self.energy = nn.Linear(units, 1, bias=False)
            init_weights(self.query, weight_init, std=weight_init_std)
            init_weights(self.energy, "xavier")

    def keys(self, memory: Tensor) -> Tensor:
        """What queries are compared with: (B, S, M) to (B, S, Q), of `additive` to (B, S, A)."""
        return memory if self.score == "dot" else self.key(memory)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Of each query (B, T, Q) with each key: (B, T, S)."""
        if self.score != "additive":
            return queries @ keys.transpose(1, 2)
        units = torch.tanh(self.query(queries).unsqueeze(2) + keys.unsqueeze(1))  # (B, T, S, A)
        return self.energy(units).squeeze(3)

    def forward(
        self, queries: Tensor, memory: Tensor, keys: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Answer queries.

        Args:
            queries: (B, T, Q).
            memory: (B, S, M).
            keys: Of `keys(memory)`; made once, whatever asks afterwards.
            mask: Which places may be looked at, (B, S) bool; at least one in each row.

        Returns:
            What is read, (B, T, M), and the weights, (B, T, S), which sum to 1 over S.
        """
        scores = self.scores(queries, keys).masked_fill(~mask.unsqueeze(1), float("-inf"))
        weights = scores.softmax(2)
        return weights @ memory, weights

"""Prioritised replay: transitions that surprised are drawn more often.

Schaul et al. 2016, "Prioritized Experience Replay", section 3.3, proportional variant: transition i
is drawn with probability p_i^alpha / sum, p_i = |td error| + a little, and its update is weighted
with (N P(i))^-beta over the largest weight of the batch; beta grows to 1 (the caller's schedule).
B batch, M transitions, L leaves: the capacity, rounded up to a power of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...lightning_modules.blocks.checks import require
from .ring import Replay, Transitions

LEAST = 1e-6  # so that no transition is never drawn again


class SumTree:
    """Numbers whose prefix sums are found, and which change, in log2 L steps of whole batches.

    Args:
        size: How many numbers.
    """

    def __init__(self, size: int):
        self.depth = max(1, (size - 1).bit_length())
        self.first_leaf = 1 << self.depth  # node k has children 2k and 2k + 1; the root is 1
        self.nodes = np.zeros(2 * self.first_leaf)

    @property
    def total(self) -> float:
        """Sum of all numbers."""
        return float(self.nodes[1])

    def get(self, places: NDArray) -> NDArray:
        """The numbers at places (M,)."""
        return self.nodes[places + self.first_leaf]

    def set(self, places: NDArray, values: NDArray) -> None:
        """Change numbers; of a place named twice the last value stands."""
        node = places + self.first_leaf
        self.nodes[node] = values
        for _ in range(self.depth):
            node = np.unique(node // 2)
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1]

    def find(self, sums: NDArray) -> NDArray:
        """For each sum (B,) in [0, total) the place at which the prefix sum exceeds it."""
        node, rest = np.ones(len(sums), np.int64), sums.copy()
        for _ in range(self.depth):
            left = self.nodes[2 * node]
            right = (rest >= left) & (self.nodes[2 * node + 1] > 0)
            rest -= np.where(right, left, 0.0)
            node = 2 * node + right
        return node - self.first_leaf


class PrioritisedReplay(Replay):
    """A replay buffer that draws by priority.

    Args:
        capacity: Most transitions kept.
        observation_shape: (*O).
        dtype: Of the observations.
        alpha: How much priority counts: 0 not at all, 1 in proportion; the paper's 0.6.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        capacity: int,
        observation_shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
        alpha: float = 0.6,
    ):
        require(0 <= alpha <= 1, "priority_exponent", "in [0, 1]", alpha)
        super().__init__(capacity, observation_shape, dtype)
        self.alpha = alpha
        self.tree = SumTree(capacity)
        self._largest = 1.0

    def add(self, *rows: NDArray) -> NDArray:
        """Write transitions; a new one is drawn as readily as the one that surprised most."""
        places = super().add(*rows)
        self.tree.set(places, np.full(len(places), self._largest**self.alpha))
        return places

    def draw(
        self, batch_size: int, beta: float, generator: torch.Generator
    ) -> tuple[Transitions, Tensor, Tensor]:
        """A batch, its places (B,) and the weights (B,) of its updates, the largest of them 1.

        Args:
            batch_size: B; the range of priorities is cut in B parts, and one drawn from each.
            beta: How much of the bias is made up for, in [0, 1].
            generator: Of the draws.
        """
        draws = torch.rand(batch_size, generator=generator, dtype=torch.float64).numpy()
        places = self.tree.find((np.arange(batch_size) + draws) / batch_size * self.tree.total)
        weights = (len(self) * self.tree.get(places) / self.tree.total) ** -beta
        at = torch.from_numpy(places)
        return self.rows(at), at, torch.from_numpy(weights / weights.max()).float()

    def update(self, places: Tensor, errors: Tensor) -> None:
        """Set priorities to the size of the temporal-difference errors (B,)."""
        sizes = errors.abs().numpy().astype(np.float64) + LEAST
        self._largest = max(self._largest, float(sizes.max()))
        self.tree.set(places.numpy(), sizes**self.alpha)

    def state_dict(self) -> dict[str, Any]:
        """What is in the buffer, with its priorities."""
        leaves = self.tree.get(np.arange(len(self)))
        own = {"priorities": torch.from_numpy(leaves), "largest": self._largest}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what was in another buffer of the same capacity."""
        super().load_state_dict(state)
        self._largest = state["largest"]
        self.tree.set(np.arange(len(self)), state["priorities"].numpy())

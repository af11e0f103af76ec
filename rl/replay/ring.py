"""Experience replay: a ring of transitions from which batches are drawn at random.

Deck, slide "DQN"; Mnih et al. 2015, Methods, "Experience replay" (Lin 1992). A transition is what
the update needs and no more: s, a, the reward r of one or n steps, the state s' that came after
them, and by how much the value of s' counts: gamma^n, or 0 where the episode terminated. An episode
cut off by time goes on to be worth something, so its last transition counts like any other.
B batch, M transitions, (*O) shape of an observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...lightning_modules.blocks.checks import require


class Transitions(NamedTuple):
    """Transitions, in the buffer and in batches."""

    observations: Tensor  # (B, *O)
    actions: Tensor  # (B,) int64
    rewards: Tensor  # (B,) discounted sum of the rewards of n steps
    next_observations: Tensor  # (B, *O)
    discounts: Tensor  # (B,) gamma^n, 0 after termination


class Replay:
    """A ring of transitions on preallocated tensors; the oldest give way.

    Args:
        capacity: Most transitions kept, at least 1.
        observation_shape: (*O).
        dtype: Of the observations.

    Raises:
        ValueError: If the capacity is below 1.
    """

    def __init__(
        self, capacity: int, observation_shape: Sequence[int], dtype: torch.dtype = torch.float32
    ):
        require(capacity >= 1, "buffer_size", "at least 1", capacity)
        self.capacity = capacity
        self.fields = Transitions(
            torch.zeros(capacity, *observation_shape, dtype=dtype),
            torch.zeros(capacity, dtype=torch.int64),
            torch.zeros(capacity),
            torch.zeros(capacity, *observation_shape, dtype=dtype),
            torch.zeros(capacity),
        )
        # NumPy writes a few rows in a sixth of the time that torch takes.
        self._arrays = [field.numpy() for field in self.fields]
        self._next = self._size = 0

    def __len__(self) -> int:
        """Transitions in the buffer."""
        return self._size

    def add(self, *rows: NDArray) -> NDArray:
        """Write M transitions, in the order of `Transitions`, at most as many as fit.

        Returns:
            (M,) where they stand.
        """
        count = len(rows[0])
        assert count <= self.capacity, "a step has fewer transitions than the buffer"
        end = self._next + count
        if end <= self.capacity:
            places: Any = slice(self._next, end)
        else:
            places = np.arange(self._next, end) % self.capacity
        for array, values in zip(self._arrays, rows, strict=True):
            array[places] = values
        first, self._next = self._next, end % self.capacity
        self._size = min(self._size + count, self.capacity)
        return np.arange(first, end) % self.capacity

    def sample(self, batch_size: int, num_batches: int, generator: torch.Generator) -> Transitions:
        """Some batches one after the other, each transition drawn independently of the others.

        Returns:
            Fields of num_batches * B rows.
        """
        size = (batch_size * num_batches,)
        return self.rows(torch.randint(self._size, size, generator=generator))

    def rows(self, places: Tensor) -> Transitions:
        """The transitions at these places."""
        return Transitions(*(field.index_select(0, places) for field in self.fields))

    def state_dict(self) -> dict[str, Any]:
        """What is in the buffer."""
        filled = [field[: self._size].clone() for field in self.fields]
        return {"fields": filled, "next": self._next, "capacity": self.capacity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what was in another buffer.

        Raises:
            ValueError: If its capacity was another one: its places would mean something else.
        """
        rule = f"{state['capacity']}, as in the checkpoint"
        require(self.capacity == state["capacity"], "buffer_size", rule, self.capacity)
        self._size, self._next = len(state["fields"][0]), state["next"]
        for field, values in zip(self.fields, state["fields"], strict=True):
            field[: self._size] = values

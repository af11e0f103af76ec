"""Transitions of one or of n steps, made of the steps of environments side by side.

Sutton 1988; Hessel et al. 2018, "Rainbow", section "Multi-step learning": from s and a, the reward
is r_1 + gamma r_2 + ... + gamma^(n-1) r_n, and the state after n steps counts with gamma^n. Where
an episode ends sooner, the sum is as long as it was, and none reaches into the next episode.
N environments, M transitions, (*O) shape of an observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...lightning_modules.blocks.checks import require
from ..playing.acting import Steps


class NStep:
    """Collects the steps of N environments into transitions.

    Args:
        num_steps: n, at least 1.
        discount: gamma, in [0, 1].
        num_environments: N.
        observation_shape: (*O).
        dtype: Of the observations.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        num_steps: int,
        discount: float,
        num_environments: int,
        observation_shape: Sequence[int],
        dtype: Any = np.float32,
    ):
        require(num_steps >= 1, "n_step", "at least 1", num_steps)
        require(0 <= discount <= 1, "discount", "in [0, 1]", discount)
        self.num_steps, self.discount = num_steps, discount
        shape = (num_steps, num_environments)
        # A slot is a step from which a sum is under way.
        self._observations = np.zeros((*shape, *observation_shape), dtype)
        self._actions = np.zeros(shape, np.int64)
        self._sums = np.zeros(shape)
        self._ages = np.zeros(shape, np.int64)  # steps in the sum
        self._open = np.zeros(shape, bool)
        self._slot = 0

    def push(self, steps: Steps) -> tuple[NDArray, ...]:
        """Take one step of all environments in.

        Returns:
            The transitions that it completes, in the order of `Transitions`, the oldest first.
        """
        if self.num_steps == 1:
            return self._single(steps)
        slot, self._slot = self._slot, (self._slot + 1) % self.num_steps
        self._observations[slot], self._actions[slot] = steps.observations, steps.actions
        self._sums[slot], self._ages[slot], self._open[slot] = 0.0, 0, steps.is_real
        self._sums += self._open * self.discount**self._ages * steps.rewards
        self._ages += self._open
        ready = self._open & ((self._ages == self.num_steps) | steps.ended)
        self._open &= ~ready
        return self._closed(ready, steps)

    def _single(self, steps: Steps) -> tuple[NDArray, ...]:
        discounts = self.discount * ~steps.terminated
        rows = (
            steps.observations,
            steps.actions,
            steps.rewards,
            steps.next_observations,
            discounts,
        )
        if steps.is_real.all():
            return rows
        return tuple(row[steps.is_real] for row in rows)

    def _closed(self, ready: NDArray, steps: Steps) -> tuple[NDArray, ...]:
        """Transitions from the slots that are ready (n, N) to the present."""
        oldest_first = np.roll(np.arange(self.num_steps), -self._slot)
        order, env = np.nonzero(ready[oldest_first])
        slot = oldest_first[order]
        discounts = self.discount ** self._ages[slot, env] * ~steps.terminated[env]
        return (
            self._observations[slot, env],
            self._actions[slot, env],
            self._sums[slot, env],
            steps.next_observations[env],
            discounts,
        )

    def state_dict(self) -> dict[str, Any]:
        """The sums under way."""
        arrays = {n: torch.tensor(v) for n, v in vars(self).items() if isinstance(v, np.ndarray)}
        return {"arrays": arrays, "slot": self._slot}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the sums of another one."""
        self._slot = state["slot"]
        for name, value in state["arrays"].items():
            getattr(self, name)[...] = value.numpy()

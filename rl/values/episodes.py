"""Whole episodes as targets: what Monte Carlo learning waits for.

Sutton and Barto 2018, sections 5.1 and 9.3: the value of a state goes towards the return that
followed it, at each visit. These are n-step transitions (`n_step.py`) whose n is as large as the
episode. One that was truncated has a state after it, whose value completes the return.
N environments, M transitions, T steps of the longest episode under way.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..playing.acting import Steps

FIRST_ROWS = 256  # the arrays double when an episode is longer


class WholeEpisodes:
    """Collects the steps of N environments until their episodes end.

    Args:
        discount: gamma, in [0, 1].
        num_environments: N.
    """

    def __init__(self, discount: float, num_environments: int):
        self.discount = discount
        self._states = np.zeros((FIRST_ROWS, num_environments), np.int64)
        self._actions = self._states.copy()
        self._rewards = np.zeros(self._states.shape)
        self._lengths = np.zeros(num_environments, np.int64)

    def push(self, steps: Steps) -> tuple[NDArray, ...]:
        """Take one step in, whose observations are numbers of states.

        Returns:
            States, actions, returns, next states and discounts, all (M,), as `NStep.push`.
        """
        if self._lengths.max() == len(self._states):
            for name in ("_states", "_actions", "_rewards"):
                kept = getattr(self, name)
                setattr(self, name, np.concatenate((kept, np.zeros_like(kept))))
        real = np.flatnonzero(steps.is_real)
        at = self._lengths[real], real
        self._states[at], self._actions[at] = steps.observations[real], steps.actions[real]
        self._rewards[at] = steps.rewards[real]
        self._lengths[real] += 1
        closed = [self._close(int(number), steps) for number in np.flatnonzero(steps.ended)]
        if not closed:
            empty = np.zeros(0, np.int64)
            return empty, empty, np.zeros(0), empty, np.zeros(0)
        return tuple(np.concatenate(parts) for parts in zip(*closed, strict=True))

    def _close(self, number: int, steps: Steps) -> tuple[NDArray, ...]:
        """The transitions of the episode that ended in one environment."""
        length = int(self._lengths[number])
        self._lengths[number] = 0
        rewards = self._rewards[:length, number][::-1].tolist()
        sums = list(itertools.accumulate(rewards, lambda later, now: now + self.discount * later))
        left = np.arange(length, 0, -1)  # steps up to the end
        return (
            self._states[:length, number].copy(),
            self._actions[:length, number].copy(),
            np.array(sums[::-1]),
            np.full(length, steps.next_observations[number]),
            self.discount**left * (not steps.terminated[number]),
        )

    def state_dict(self) -> dict[str, Any]:
        """The episodes under way."""
        used = int(self._lengths.max())
        kept = {"states": self._states, "actions": self._actions, "rewards": self._rewards}
        rows = {name: torch.tensor(array[:used]) for name, array in kept.items()}
        return {**rows, "lengths": torch.tensor(self._lengths)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the episodes of another one."""
        used = len(state["states"])
        more = np.zeros((max(used, FIRST_ROWS), self._states.shape[1]))
        self._states, self._actions = more.astype(np.int64), more.astype(np.int64)
        self._rewards, self._lengths = more.copy(), state["lengths"].numpy().copy()
        for name in ("states", "actions", "rewards"):
            getattr(self, f"_{name}")[:used] = state[name].numpy()

"""A learned model as a table, and the step of Q-learning that real and imagined outcomes share.

Sutton and Barto 2018, section 8.2, "Tabular Dyna-Q", lines (d) to (f). S states, A actions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Outcome = tuple[float, int, bool]  # reward, next state, whether the episode terminated


class Outcomes(nn.Module):
    """What followed each pair of state and action when it was last tried.

    Its buffers hold only what a checkpoint needs; while learning it is a dict of plain numbers.

    Args:
        num_states: S.
        num_actions: A.
    """

    def __init__(self, num_states: int, num_actions: int):
        super().__init__()
        self.num_actions = num_actions
        self.outcomes: dict[int, Outcome] = {}  # pair -> what followed, the first seen first
        self._pairs: list[int] = []
        self.size = num_states * num_actions

    def learn(self, state: int, action: int, outcome: Outcome) -> None:
        """Remember what followed."""
        pair = state * self.num_actions + action
        if pair not in self.outcomes:
            self._pairs.append(pair)
        self.outcomes[pair] = outcome

    def draw(self, count: int, chance: np.random.Generator) -> Iterator[tuple[int, int, Outcome]]:
        """State, action and outcome of pairs that were tried, each as likely as the others."""
        if count == 0:
            return
        for number in chance.integers(len(self._pairs), size=count).tolist():
            pair = self._pairs[number]
            state, action = divmod(pair, self.num_actions)
            yield state, action, self.outcomes[pair]

    def get_extra_state(self) -> Tensor:
        """Pair, reward, next state and end of each pair that was tried, (pairs, 4) float64."""
        rows = [[pair, *self.outcomes[pair]] for pair in self._pairs]
        return torch.tensor(rows, dtype=torch.float64).view(-1, 4)

    def set_extra_state(self, state: Any) -> None:
        """Know what another one knew."""
        rows = state.tolist()
        self._pairs = [int(row[0]) for row in rows]
        self.outcomes = {int(p): (reward, int(s), bool(end)) for p, reward, s, end in rows}


def q_learning_step(
    q: list[list[float]],
    state: int,
    action: int,
    outcome: Outcome,
    learning_rate: float,
    discount: float,
) -> None:
    """q(s, a) <- q(s, a) + alpha (r + gamma max over a' of q(s', a') - q(s, a)), in place.

    Args:
        q: S rows of A values.
        state: s.
        action: a.
        outcome: r, s', and whether nothing comes after.
        learning_rate: alpha.
        discount: gamma.
    """
    reward, after, ends = outcome
    target = reward if ends else reward + discount * max(q[after])
    q[state][action] += learning_rate * (target - q[state][action])

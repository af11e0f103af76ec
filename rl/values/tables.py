"""Small tasks written out whole: a finite Markov decision process as tables.

Sutton and Barto 2018, section 3.1: p(s', r | s, a). Here the reward is a function of s, a and s'.
An episode ends on arrival in a terminal state, whose own rows say that nothing more happens.
S states (terminal ones too), A actions, C coordinates.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Env
from numpy.typing import NDArray

from ...lightning_modules.blocks.checks import require


@dataclass(frozen=True, eq=False)
class Table:
    """What an environment does, as numbers.

    Args:
        transitions: P (S, A, S), probability of each next state; rows sum to 1.
        rewards: (S, A, S), the reward of each move.
        start: (S,), probability that an episode begins in a state.
        terminal: (S,) bool.
        coordinates: (S, C), where a state lies, each from 0 to 1: what features and pictures see.
        shape: Of the map that the states fill row by row: (rows, columns), or (S,).

    Raises:
        ValueError: If probabilities are negative or do not sum to 1.
    """

    transitions: NDArray
    rewards: NDArray
    start: NDArray
    terminal: NDArray
    coordinates: NDArray
    shape: tuple[int, ...]

    def __post_init__(self):
        for name, rows in (("transitions", self.transitions), ("start", self.start)):
            holds = bool((rows >= 0).all() and np.allclose(rows.sum(-1), 1))
            require(holds, name, "probabilities that sum to 1", rows.sum(-1))

    @property
    def num_states(self) -> int:
        """S."""
        return self.transitions.shape[0]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.transitions.shape[1]

    @functools.cached_property
    def expected_rewards(self) -> NDArray:
        """R (S, A), the mean reward of an action."""
        return (self.transitions * self.rewards).sum(2)

    @functools.cached_property
    def cumulative(self) -> NDArray:
        """(S, A, S), sums of the probabilities up to each next state; the last is exactly 1."""
        sums = self.transitions.cumsum(2)
        return sums / sums[:, :, -1:]

    @functools.cached_property
    def lived(self) -> NDArray:
        """(S,) bool: states in which an action is ever chosen, thus no walls and no ends."""
        leads = self.transitions.max(1) > 0  # (S, S)
        leads[self.terminal] = False
        reached = self.start > 0
        while True:
            more = reached | leads[reached].any(0)
            if (more == reached).all():
                return reached & ~self.terminal
            reached = more


def draw_next(table: Table, states: NDArray, actions: NDArray, draws: NDArray) -> NDArray:
    """Next states (N,).

    Args:
        table: The task.
        states: (N,).
        actions: (N,).
        draws: (N,), uniform in [0, 1).
    """
    return (table.cumulative[states, actions] <= draws[:, None]).sum(1)


def draw_start(table: Table, draws: NDArray) -> NDArray:
    """First states (N,) for uniform draws (N,) in [0, 1)."""
    sums = table.start.cumsum()
    return (sums / sums[-1] <= draws[:, None]).sum(1)


def table_of(environment: Env) -> Table:
    """The table of one of our environments, or of a toy text of Gymnasium (FrozenLake).

    Raises:
        ValueError: If the environment has none: its true values are not known.
    """
    inner: Any = environment.unwrapped
    if isinstance(getattr(inner, "table", None), Table):
        return inner.table
    rule = "one whose probabilities are known (`table`, or the `P` of Gymnasium's toy texts)"
    require(isinstance(getattr(inner, "P", None), dict), "environment", rule, str(environment))
    return _table_of_toy_text(inner)


def _table_of_toy_text(inner: Any) -> Table:
    states, actions = len(inner.P), len(inner.P[0])
    transitions, rewards = (np.zeros((states, actions, states)) for _ in range(2))
    terminal = np.zeros(states, bool)
    for state, moves in inner.P.items():
        for action, outcomes in moves.items():
            for probability, after, reward, ends in outcomes:
                transitions[state, action, after] += probability
                rewards[state, action, after] += probability * reward
                terminal[after] |= ends
    np.divide(rewards, transitions, out=rewards, where=transitions > 0)
    shape = inner.desc.shape if hasattr(inner, "desc") else (states,)
    shape = shape if int(np.prod(shape)) == states else (states,)
    start = np.asarray(inner.initial_state_distrib, float)
    return Table(transitions, rewards, start, terminal, grid_coordinates(shape), tuple(shape))


def grid_coordinates(shape: tuple[int, ...]) -> NDArray:
    """(S, C): coordinates from 0 to 1 of the cells of a map, row by row."""
    axes = [np.linspace(0, 1, size) if size > 1 else np.zeros(1) for size in shape]
    return np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], 1)  # (S, C)

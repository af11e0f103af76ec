"""How an agent tries what it does not believe in: epsilon-greedy and Boltzmann exploration.

Deck, slide "DQN"; Mnih et al. 2015, Methods, "Training details" (epsilon annealed linearly);
Sutton and Barto 2018, section 2.2 and exercise 2.2's soft-max. N environments, A actions.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..lightning_modules.blocks.checks import require, require_one_of

Exploration = Literal["epsilon_greedy", "boltzmann"]


class Schedule:
    """A number that goes linearly from `start` to `end` over some environment steps, then stays.

    Args:
        start: At step 0.
        end: From `num_steps` on.
        num_steps: How long it takes, at least 1.
    """

    def __init__(self, start: float, end: float, num_steps: int):
        self.start, self.end, self.num_steps = start, end, num_steps

    def __call__(self, step: int) -> float:
        """The number at a step."""
        share = min(1.0, step / self.num_steps)
        return self.start + share * (self.end - self.start)


class Explorer(Protocol):
    """Chooses actions from action values."""

    schedule: Schedule

    def __call__(self, values: NDArray, step: int, chance: np.random.Generator) -> NDArray:
        """Actions (N,) for values (N, A) at a step."""
        ...


class EpsilonGreedy:
    """The best action, but with probability epsilon any.

    Args:
        epsilon: Its schedule, from 0 to 1.
    """

    def __init__(self, epsilon: Schedule):
        self.schedule = epsilon

    def __call__(self, values: NDArray, step: int, chance: np.random.Generator) -> NDArray:
        """Actions (N,) for values (N, A) at a step."""
        actions = values.argmax(1)
        draws = chance.random((2, len(values)))
        tries = draws[0] < self.schedule(step)
        return np.where(tries, (draws[1] * values.shape[1]).astype(np.int64), actions)


class Boltzmann:
    """Action a with probability proportional to e^(q(s, a) / temperature).

    Args:
        temperature: Its schedule, above 0.
    """

    def __init__(self, temperature: Schedule):
        self.schedule = temperature

    def __call__(self, values: NDArray, step: int, chance: np.random.Generator) -> NDArray:
        """Actions (N,) for values (N, A) at a step."""
        # The largest of the values with Gumbel noise is a draw from their soft-max.
        return (values / self.schedule(step) + chance.gumbel(size=values.shape)).argmax(1)


def explorer(kind: Exploration, start: float, end: float, num_steps: int) -> Explorer:
    """The way of exploring that a config names.

    Args:
        kind: `epsilon_greedy` or `boltzmann`.
        start: Epsilon or temperature at the start.
        end: At the end.
        num_steps: Environment steps from one to the other.

    Raises:
        ValueError: If an argument is outside its range.
    """
    require_one_of("exploration", kind, ("epsilon_greedy", "boltzmann"))
    require(num_steps >= 1, "exploration_steps", "at least 1", num_steps)
    for name, value in (("exploration_start", start), ("exploration_end", end)):
        if kind == "boltzmann":
            require(value > 0, name, "above 0 (a temperature)", value)
        else:
            require(0 <= value <= 1, name, "in [0, 1] (a probability)", value)
    schedule = Schedule(start, end, num_steps)
    return Boltzmann(schedule) if kind == "boltzmann" else EpsilonGreedy(schedule)

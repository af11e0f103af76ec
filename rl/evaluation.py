"""What an agent is worth: returns of whole episodes without exploration.

N environments, E episodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .playing.acting import Environments

MOST_AT_ONCE = 25  # environments side by side
Policy = Callable[[NDArray], NDArray]  # observations (N, *O) -> actions (N,)


@dataclass(frozen=True)
class Returns:
    """Undiscounted returns of E episodes.

    Args:
        values: (E,).
        lengths: (E,), in environment steps.
    """

    values: NDArray
    lengths: NDArray

    @property
    def mean(self) -> float:
        """Their mean."""
        return float(self.values.mean())

    @property
    def half_width(self) -> float:
        """Of the 95 % interval of the mean, by the normal approximation; NaN for one episode."""
        if len(self.values) < 2:
            return math.nan
        return 1.96 * float(self.values.std(ddof=1)) / math.sqrt(len(self.values))

    @property
    def worst(self) -> float:
        """The smallest."""
        return float(self.values.min())


def num_environments_for(num_episodes: int) -> int:
    """How many environments an evaluation of so many episodes wants."""
    return min(num_episodes, MOST_AT_ONCE)


def evaluate(environments: Environments, policy: Policy, num_episodes: int) -> Returns:
    """Play E episodes.

    Each environment plays its share of the episodes to their end. Who took the first E that end
    would take more of the short ones.

    Args:
        environments: Fresh ones, at most E.
        policy: What to do.
        num_episodes: E.

    Raises:
        EnvironmentFailed: An environment raised or returned NaN.
    """
    count = len(environments)
    left = np.full(count, num_episodes // count) + (np.arange(count) < num_episodes % count)
    value, length = np.zeros(count), np.zeros(count, int)
    values, lengths = [], []
    while (left > 0).any():
        steps = environments.step(policy(environments.observations))
        value += steps.rewards * steps.is_real
        length += steps.is_real
        for number in np.flatnonzero(steps.ended):
            if left[number] > 0:
                values.append(value[number])
                lengths.append(length[number])
                left[number] -= 1
            value[number], length[number] = 0.0, 0
    return Returns(np.array(values), np.array(lengths))

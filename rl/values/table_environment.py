"""Gymnasium environments that act as a table says: one, or N side by side in NumPy.

N copies cost about as much as one: a step of all is a look into the table and a draw for each.
They begin anew in the step that ends an episode (`AutoresetMode.SAME_STEP`).
N environments, S states, A actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import Env, Space, spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ...lightning_modules.blocks.checks import require
from .tables import Table, draw_next, draw_start


class TableEnvironment(Env):
    """Acts in a table.

    Args:
        table: The task.
        one_hot: Whether a state is told as a vector (S,) with a single one; else as its number.
    """

    def __init__(self, table: Table, one_hot: bool):
        self.table, self.one_hot = table, one_hot
        self.action_space = spaces.Discrete(table.num_actions)
        self.observation_space: Space = spaces.Discrete(table.num_states)
        if one_hot:
            self.observation_space = spaces.Box(0.0, 1.0, (table.num_states,), np.float32)
        self._states = np.zeros(1, np.int64)

    @property
    def state(self) -> int:
        """The present state, from 0 to S - 1."""
        return int(self._states[0])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        super().reset(seed=seed)
        self._states = draw_start(self.table, self.np_random.random(1))
        return self._told(), {}

    def step(self, action: Any) -> Any:
        """Move.

        Raises:
            ValueError: If there is no such action.
        """
        rule = f"from 0 to {self.table.num_actions - 1}"
        require(0 <= int(action) < self.table.num_actions, "action", rule, action)
        before, actions = self._states, np.array([action])
        self._states = draw_next(self.table, before, actions, self.np_random.random(1))
        reward = float(self.table.rewards[before[0], action, self.state])
        return self._told(), reward, bool(self.table.terminal[self.state]), False, {}

    def _told(self) -> Any:
        told = tell(self._states, self.table.num_states, self.one_hot)[0]
        return told if self.one_hot else int(told)


class TableEnvironments(VectorEnv):
    """N copies of an environment with a table.

    Args:
        environment: What is copied.
        num_envs: N.
        max_episode_steps: When an episode is truncated; default: never.
    """

    metadata = {  # noqa: RUF012 (Gymnasium reads it from the class)
        "render_modes": [],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self, environment: TableEnvironment, num_envs: int, max_episode_steps: int | None = None
    ):
        self._table, self._one_hot = environment.table, environment.one_hot
        self.num_envs, self.max_episode_steps = num_envs, max_episode_steps
        self.single_action_space = environment.action_space
        self.single_observation_space = environment.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        # These two arrays and the generator are all that changes (see `rewinding`).
        self.states, self.elapsed = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begin an episode in each."""
        super().reset(seed=seed)
        self.states = draw_start(self._table, self.np_random.random(self.num_envs))
        self.elapsed = np.zeros(self.num_envs, np.int64)
        return self._told(self.states), {}

    def step(self, actions: NDArray) -> Any:
        """Move in each; where an episode ends the next begins, and its last is in `final_obs`."""
        before = self.states
        after = draw_next(self._table, before, actions, self.np_random.random(self.num_envs))
        rewards = self._table.rewards[before, actions, after]
        terminated = self._table.terminal[after]
        self.elapsed += 1
        late = self.elapsed >= (self.max_episode_steps or np.inf)
        truncated = late & ~terminated
        ended, infos = terminated | truncated, {}
        self.states = after
        if ended.any():
            infos = {"final_obs": self._told(after), "_final_obs": ended}
            self.states = after.copy()
            self.states[ended] = draw_start(self._table, self.np_random.random(int(ended.sum())))
            self.elapsed[ended] = 0
        return self._told(self.states), rewards, terminated, truncated, infos

    def _told(self, states: NDArray) -> NDArray:
        return tell(states, self._table.num_states, self._one_hot)


def tell(states: NDArray, num_states: int, one_hot: bool) -> NDArray:
    """Observations of states (N,): one-hot (N, S) float32, or the numbers (N,)."""
    if not one_hot:
        return states.copy()
    told = np.zeros((len(states), num_states), np.float32)
    told[np.arange(len(states)), states] = 1.0
    return told


class Several:
    """A vector entry point: makes N copies of what a class makes.

    Args:
        make: Makes one; its keyword arguments are those of the copies.
    """

    def __init__(self, make: Callable[..., TableEnvironment]):
        self.make = make

    def __call__(
        self, num_envs: int = 1, max_episode_steps: int | None = None, **options: Any
    ) -> TableEnvironments:
        """N copies; Gymnasium hands over the time limit of the registration."""
        return TableEnvironments(self.make(**options), num_envs, max_episode_steps)

"""Several environments that are acted in for ever, whatever their way of beginning anew.

Gymnasium 1.x has three (`AutoresetMode`). After the step that ends an episode
- NEXT_STEP: the next call of `step` ignores the action and resets; that call is no experience;
- SAME_STEP: the reset has happened, and the last observation stands in `infos["final_obs"]`;
- DISABLED: the caller resets.
`Environments.step` tells of each step what a learner may store, with the observation that really
came next. N environments, (*O) shape of an observation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from . import rewinding


class Steps(NamedTuple):
    """One step of all environments."""

    observations: NDArray  # (N, *O), before
    actions: NDArray  # (N,)
    rewards: NDArray  # (N,)
    next_observations: NDArray  # (N, *O), after; of an episode that ended its last one
    terminated: NDArray  # (N,) bool: the task ended, nothing comes after
    truncated: NDArray  # (N,) bool: the time ended, something would have come after
    is_real: NDArray  # (N,) bool: false where the environment only began anew

    @property
    def ended(self) -> NDArray:
        """(N,) bool: an episode ended here."""
        return self.terminated | self.truncated


class EnvironmentFailed(RuntimeError):
    """An environment raised, or returned what is no number."""


class Environments:
    """N environments under way, with their present observations.

    Args:
        vector: The environments.
        seed: Of their starts and their chances.
        name: For messages.

    Attributes:
        observations: (N, *O), what to act on.
        num_steps: Calls of `step` so far.
        episodes: (return, length) of the episodes that ended; the caller empties it.
    """

    def __init__(self, vector: VectorEnv, seed: int, name: str = "environment"):
        self.vector, self.seed, self.name = vector, seed, name
        self.mode = AutoresetMode(vector.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self.num_steps = 0
        self.episodes: list[tuple[float, int]] = []
        self._none = np.zeros(vector.num_envs, bool)
        self._begins = self._none  # whose next step is a reset
        self._return = np.zeros(vector.num_envs)
        self._length = np.zeros(vector.num_envs, int)
        self.observations = np.array(self._told(lambda: vector.reset(seed=seed)[0]))
        self._check(np.zeros(len(self)), self.observations)

    def __len__(self) -> int:
        """N."""
        return self.vector.num_envs

    def step(self, actions: NDArray) -> Steps:
        """Act once in each environment.

        Args:
            actions: (N,).

        Raises:
            EnvironmentFailed: An environment raised or returned NaN: named with seed and step.
        """
        before, is_real = self.observations, ~self._begins
        self.num_steps += 1
        actions = np.asarray(actions)
        after, rewards, terminated, truncated, infos = self._told(lambda: self.vector.step(actions))
        ended = terminated | truncated
        self.observations = last = np.array(after)
        if ended.any() and self.mode is not AutoresetMode.NEXT_STEP:
            self.observations, last = self._begun_anew(last, ended, infos)
        self._begins = ended if self.mode is AutoresetMode.NEXT_STEP else self._none
        steps = Steps(before, actions, rewards, last, terminated, truncated, is_real)
        self._check(rewards, last)
        if self.observations is not last:
            self._check(rewards, self.observations)
        self._count(steps)
        return steps

    def begin_anew(self) -> None:
        """Begin an episode in each; those under way are dropped and counted nowhere."""
        self.observations = np.array(self._told(lambda: self.vector.reset()[0]))
        self._check(np.zeros(len(self)), self.observations)
        self._begins = self._none
        self._return, self._length = np.zeros(len(self)), np.zeros(len(self), int)

    def _begun_anew(self, after: NDArray, ended: NDArray, infos: dict) -> tuple[NDArray, NDArray]:
        """What to act on next, and what really came after the last action."""
        if self.mode is AutoresetMode.SAME_STEP:
            last = after.copy()
            for number in np.flatnonzero(ended):
                last[number] = infos["final_obs"][number]
            return after, last
        options = {"reset_mask": ended}
        return np.array(self._told(lambda: self.vector.reset(options=options)[0])), after

    def _count(self, steps: Steps) -> None:
        """Returns and lengths of the episodes under way, and of those that ended."""
        self._return += steps.rewards * steps.is_real
        self._length += steps.is_real
        ended = steps.ended
        if not ended.any():
            return
        for number in np.flatnonzero(ended):
            self.episodes.append((float(self._return[number]), int(self._length[number])))
        self._return[ended] = 0.0
        self._length[ended] = 0

    def _check(self, rewards: NDArray, observations: NDArray) -> None:
        """NaN and infinity in a sum show in the sum."""
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(rewards.sum() + observations.sum()):
                return
        flat = observations.reshape(len(self), -1)
        bad = ~(np.isfinite(rewards) & np.isfinite(flat).all(1))
        if bad.any():
            number = int(np.flatnonzero(bad)[0])
            what = f"reward {rewards[number]}, observation {observations[number]}"
            raise EnvironmentFailed(f"{self._place(number)} must return numbers, but gave {what}.")

    def state_dict(self) -> dict[str, Any]:
        """What brings the environments back to where they are, as tensors and plain numbers."""
        return {
            "vector": rewinding.state_of(self.vector),
            "observations": torch.tensor(self.observations),
            "begins": torch.tensor(self._begins),
            "return": torch.tensor(self._return),
            "length": torch.tensor(self._length),
            "num_steps": self.num_steps,
            "episodes": [list(episode) for episode in self.episodes],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the state was taken."""
        rewinding.rewind(self.vector, state["vector"])
        self.observations = state["observations"].numpy().copy()
        self._begins = state["begins"].numpy().copy()
        self._return, self._length = state["return"].numpy().copy(), state["length"].numpy().copy()
        self.num_steps = state["num_steps"]
        self.episodes = [(value, length) for value, length in state["episodes"]]

    def _told(self, call: Any) -> Any:
        try:
            return call()
        except Exception as error:  # the environment's own code, which may raise anything
            what = f"{self._place()} raised {type(error).__name__}: {error}"
            raise EnvironmentFailed(what) from error

    def _place(self, number: int | None = None) -> str:
        which = "" if number is None else f" number {number}"
        return f"{self.name}{which} (seed {self.seed}, step {self.num_steps})"

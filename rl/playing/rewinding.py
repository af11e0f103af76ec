"""Environments that a resumed run finds where the interrupted one left them.

Gymnasium has no way to save an environment, and a pickle is out of the question. But all chance
comes from `np_random`: its state before the latest reset, and the actions since, say all. An
environment vectorised by itself (CartPole) has its state in arrays, which are kept as they are. The
ALE has a chance of its own, which only a seed sets: there each episode begins with a seed that the
one before has drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import Env, Wrapper
from gymnasium.vector import SyncVectorEnv, VectorEnv


class Rewindable(Wrapper):
    """Remembers how its environment's episode began and what was done since."""

    def __init__(self, env: Env):
        super().__init__(env)
        self._has_own_chance = env.spec is not None and env.spec.namespace == "ALE"
        self._start: dict[str, Any] = {}
        self._actions: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        if seed is None and self._has_own_chance:
            seed = int(self.env.unwrapped.np_random.integers(2**31))
        self._start = {} if seed is not None else self._chance()
        self._seed, self._actions = seed, []
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """Act."""
        self._actions.append(int(action))
        return super().step(action)

    def state(self) -> dict[str, Any]:
        """Seed or random state of the start, and the actions since."""
        return {"seed": self._seed, "start": self._start, "actions": list(self._actions)}

    def rewind(self, state: dict[str, Any]) -> None:
        """Live through the episode again, up to where the state was taken."""
        if state["seed"] is None:
            self.reset(seed=0)  # makes the generator
            self.env.unwrapped.np_random.bit_generator.state = state["start"]
        self.reset(seed=state["seed"])
        for action in state["actions"]:
            self.step(action)

    def _chance(self) -> dict[str, Any]:
        return dict(self.env.unwrapped.np_random.bit_generator.state)


def state_of(vector: VectorEnv) -> dict[str, Any]:
    """The state of environments that step together, as tensors and plain values."""
    if isinstance(vector.unwrapped, SyncVectorEnv):
        return {"each": [_rewindable(env).state() for env in vector.unwrapped.envs]}
    arrays = {n: v for n, v in vars(vector.unwrapped).items() if isinstance(v, np.ndarray)}
    return {
        "arrays": {name: torch.tensor(value) for name, value in arrays.items()},
        "chance": dict(_generator(vector).bit_generator.state),
    }


def rewind(vector: VectorEnv, state: dict[str, Any]) -> None:
    """Bring environments that have been reset to a state that was taken of their like."""
    if isinstance(vector.unwrapped, SyncVectorEnv):
        for env, each in zip(vector.unwrapped.envs, state["each"], strict=True):
            _rewindable(env).rewind(each)
        return
    for name, value in state["arrays"].items():
        setattr(vector.unwrapped, name, value.numpy().copy())
    _generator(vector).bit_generator.state = state["chance"]


def _generator(vector: VectorEnv) -> np.random.Generator:
    generator = vector.unwrapped.np_random
    assert isinstance(generator, np.random.Generator)
    return generator


def _rewindable(env: Any) -> Rewindable:
    assert isinstance(env, Rewindable), "make_several wraps each environment so"
    return env

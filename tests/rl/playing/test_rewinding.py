from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from paceline.rl.playing.acting import Environments
from paceline.rl.playing.making import Maker

NAMES = [
    "CartPole-v1",
    "FrozenLake-v1",
    "MountainCar-v0",
    "paceline.rl.environments:Identity-v0",
    "ALE/Dice-v0",
]


class Dice(gymnasium.Env):
    """Has a chance of its own, which only a seed sets, as the games of the ALE have."""

    observation_space, action_space = spaces.Discrete(1000), spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.chance = random.Random(seed)
        return self.chance.randrange(1000), {}

    def step(self, action: Any) -> Any:
        told = self.chance.randrange(1000)
        return told, 0.0, told < 50, False, {}


@pytest.fixture(autouse=True)
def _dice() -> Iterator[None]:
    gymnasium.register("ALE/Dice-v0", entry_point=Dice)
    yield
    del gymnasium.registry["ALE/Dice-v0"]


def saved_and_loaded(state: Any) -> Any:
    """Through a file that holds tensors and plain values only."""
    file = io.BytesIO()
    torch.save(state, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=True)


def stepped(environments: Environments, chance: np.random.Generator, count: int) -> list[Any]:
    """Everything that some steps with random actions tell."""
    most = environments.vector.single_action_space.n
    return [environments.step(chance.integers(most, size=len(environments))) for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, 1, 150])
def test_environments_go_on_from_a_saved_state_to_the_bit(name, count):
    whole = Environments(Maker(name).several(3), seed=5)
    stepped(whole, np.random.default_rng(0), count)
    state = saved_and_loaded(whole.state_dict())
    later = stepped(whole, np.random.default_rng(1), 150)

    resumed = Environments(Maker(name).several(3), seed=6)
    resumed.load_state_dict(state)
    again = stepped(resumed, np.random.default_rng(1), 150)
    for one, other in zip(later, again, strict=True):
        for field, value in one._asdict().items():
            assert np.array_equal(value, getattr(other, field)), field
    assert resumed.episodes == whole.episodes
    assert resumed.num_steps == whole.num_steps


def test_a_rewound_environment_can_be_saved_again():
    first = Environments(Maker("FrozenLake-v1").several(2), seed=5)
    stepped(first, np.random.default_rng(0), 37)
    second = Environments(Maker("FrozenLake-v1").several(2), seed=6)
    second.load_state_dict(saved_and_loaded(first.state_dict()))
    third = Environments(Maker("FrozenLake-v1").several(2), seed=7)
    third.load_state_dict(saved_and_loaded(second.state_dict()))
    one, other = (stepped(e, np.random.default_rng(2), 100)[-1] for e in (first, third))
    assert np.array_equal(one.next_observations, other.next_observations)


def test_different_seeds_act_differently():
    one, other = (Environments(Maker("CartPole-v1").several(2), seed=s) for s in (1, 2))
    assert not np.array_equal(one.observations, other.observations)
    assert isinstance(gymnasium.spec("CartPole-v1").max_episode_steps, int)

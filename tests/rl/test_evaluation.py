from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from paceline.rl.evaluation import Returns, evaluate, num_environments_for
from paceline.rl.playing.acting import Environments


class Counts(gymnasium.Env):
    """Episode k of environment n lasts n + 1 steps and pays 100 n + k at each; n = 0, 1, ..."""

    def __init__(self, which: int):
        self.which, self.episode = which, -1
        self.observation_space, self.action_space = spaces.Discrete(9), spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.time, self.episode = 0, self.episode + 1
        return 0, {}

    def step(self, action: Any) -> Any:
        self.time += 1
        ends = self.time > self.which
        return 0, 100 * self.which + self.episode, ends, False, {}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_each_environment_plays_its_share_however_long_its_episodes(mode):
    makers = [lambda n=n: Counts(n) for n in range(3)]
    environments = Environments(SyncVectorEnv(makers, autoreset_mode=mode), seed=0)
    returns = evaluate(environments, lambda o: np.zeros(len(o), int), 7)
    played = sorted(zip(returns.lengths.tolist(), returns.values.tolist(), strict=True))
    shares = [(n + 1, (n + 1) * (100.0 * n + k)) for n, e in enumerate((3, 2, 2)) for k in range(e)]
    assert played == sorted(shares)


def test_mean_interval_and_worst_are_those_of_the_formula():
    values = np.array([1.0, 4.0, 2.5, 9.0])
    returns = Returns(values, np.ones(4))
    assert returns.mean == values.mean()
    assert returns.worst == 1.0
    assert returns.half_width == pytest.approx(1.96 * np.sqrt(values.var(ddof=1) / 4))
    assert math.isnan(Returns(np.ones(1), np.ones(1)).half_width)


def test_few_episodes_need_few_environments():
    assert [num_environments_for(n) for n in (1, 10, 1000)] == [1, 10, 25]

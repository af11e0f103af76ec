"""Scripted episodes, acted in under each of Gymnasium's three ways of beginning anew."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from paceline.rl.exploration import Schedule
from paceline.rl.playing.acting import EnvironmentFailed, Environments
from paceline.rl.replay.memory import Memory
from paceline.rl.replay.n_step import NStep
from paceline.rl.replay.ring import Replay

GAMMA = 0.9
Episode = list[tuple[float, str]]  # reward and end of each step: "", "terminated", "truncated"
SCRIPTS: list[list[Episode]] = [
    [[(1, ""), (-2, ""), (4, "terminated")], [(8, "truncated")], [(0.5, ""), (16, "truncated")]],
    [[(3, "terminated")], [(5, ""), (-7, ""), (11, ""), (13, "terminated")], [(0, "truncated")]],
]
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]


class Scripted(gymnasium.Env):
    """Plays the episodes of a script again and again; tells which it is, its number and time."""

    def __init__(self, which: int, episodes: list[Episode]):
        self.which, self.episodes, self.number, self.time = which, episodes, -1, 0
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = spaces.Discrete(2)

    def told(self) -> Any:
        return np.array([self.which, self.number, self.time], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.number, self.time = self.number + 1, 0
        return self.told(), {}

    def step(self, action: Any) -> Any:
        reward, end = self.episodes[self.number % len(self.episodes)][self.time]
        self.time += 1
        return self.told(), reward, end == "terminated", end == "truncated", {}


class Breaks(Scripted):
    """Does something wrong at the third step, or when an episode begins for the second time."""

    def __init__(self, how: str):
        super().__init__(
            0, [[(0, "")] * 5, [(0, "terminated")]] if "step" in how else [SCRIPTS[0][0]]
        )
        self.how = how

    def reset(self, **arguments: Any) -> Any:
        told, infos = super().reset(**arguments)
        return (np.full_like(told, np.nan) if self.how == "begin" and self.number else told), infos

    def step(self, action: Any) -> Any:
        told, reward, *rest = super().step(action)
        if self.time == 3 and self.how == "step raises":
            raise KeyError("the door")
        if self.time == 3 and self.how == "step reward":
            reward = np.nan
        return (
            np.full_like(told, np.inf) if self.time == 3 and self.how == "step told" else told,
            reward,
            *rest,
        )


def scripted(mode: AutoresetMode) -> Environments:
    makers = [lambda n=n, s=s: Scripted(n, s) for n, s in enumerate(SCRIPTS)]
    return Environments(SyncVectorEnv(makers, autoreset_mode=mode), seed=0)


def played(environments: Environments, count: int) -> None:
    for _ in range(count):
        environments.step(np.zeros(len(environments), int))


def remembered(mode: AutoresetMode, n_step: int, clip: bool = False) -> dict[tuple, tuple]:
    """What DQN's memory makes of 40 steps: (which, episode, time) -> all that was stored of it."""
    environments = scripted(mode)
    replay, collector = Replay(200, (3,)), NStep(n_step, GAMMA, 2, (3,))
    memory = Memory(replay, collector, clip, Schedule(1.0, 1.0, 1), seed=0)
    for _ in range(40):
        memory.remember(environments.step(np.array([1, 0])))
    stored = [field[: len(replay)].tolist() for field in replay.fields]
    rows = {
        tuple(start): (action, reward, tuple(after), discount)
        for start, action, reward, after, discount in zip(*stored, strict=True)
    }
    assert len(rows) == len(replay)  # nothing twice
    return rows


def expected(n_step: int, clip: bool = False) -> dict[tuple, tuple]:
    """The same of the first three episodes, read off the scripts."""
    rows = {}
    for which, episodes in enumerate(SCRIPTS):
        for number, episode in enumerate(episodes):
            rewards = [np.sign(r) if clip else r for r, _ in episode]
            for time in range(len(episode)):
                end = min(time + n_step, len(episode))
                total = sum(GAMMA**k * r for k, r in enumerate(rewards[time:end]))
                discount = 0.0 if episode[end - 1][1] == "terminated" else GAMMA ** (end - time)
                rows[which, number, time] = (1 - which, total, (which, number, end), discount)
    return rows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("n_step", "clip"), [(1, False), (1, True), (2, False), (3, True), (5, False)]
)
def test_all_ways_of_beginning_anew_give_the_transitions_of_the_script(mode, n_step, clip):
    found = remembered(mode, n_step, clip)
    for start, row in expected(n_step, clip).items():
        assert found[start][:1] == row[:1]
        assert found[start][1] == pytest.approx(row[1], abs=1e-5)
        assert found[start][2] == row[2]
        assert found[start][3] == pytest.approx(row[3], abs=1e-6)
    for (which, number, _), (_, _, after, _) in found.items():
        assert after[:2] == (which, number)  # no transition leads into the next episode
        assert after[2] > 0  # nor is a reset one


@pytest.mark.parametrize("mode", MODES)
def test_returns_and_lengths_of_ended_episodes_are_the_scripts(mode):
    environments = scripted(mode)
    while len(environments.episodes) < 6:
        environments.step(np.zeros(2, int))
    written = [(float(sum(r for r, _ in e)), len(e)) for s in SCRIPTS for e in s]
    shortest = environments.episodes
    for episode in shortest[:6]:
        assert episode in written
    assert shortest[0] == (3.0, 1)


def test_a_state_taken_between_an_end_and_its_reset_goes_on_with_the_reset():
    environments = scripted(AutoresetMode.NEXT_STEP)
    steps = environments.step(np.zeros(2, int))
    assert steps.terminated.tolist() == [False, True]
    state = {"begins": environments._begins.copy(), "next": environments.step(np.zeros(2, int))}
    assert state["begins"].tolist() == [False, True]
    assert state["next"].is_real.tolist() == [True, False]


@pytest.mark.parametrize(
    ("how", "mode", "message"),
    [
        (
            "step raises",
            AutoresetMode.SAME_STEP,
            r"toy \(seed 7, step 3\) raised KeyError: 'the door'",
        ),
        ("step reward", AutoresetMode.SAME_STEP, r"toy number 0 \(seed 7, step 3\) .* reward nan"),
        ("step told", AutoresetMode.NEXT_STEP, r"toy number 0 \(seed 7, step 3\) .* inf"),
        ("begin", AutoresetMode.SAME_STEP, r"toy number 0 \(seed 7, step 3\) .* nan"),
        ("begin", AutoresetMode.DISABLED, r"toy number 0 \(seed 7, step 3\) .* nan"),
        ("begin", AutoresetMode.NEXT_STEP, r"toy number 0 \(seed 7, step 4\) .* nan"),
    ],
)
def test_an_environment_that_breaks_is_named_with_seed_and_step(how, mode, message):
    vector = SyncVectorEnv([lambda: Breaks(how)], autoreset_mode=mode)
    environments = Environments(vector, seed=7, name="toy")
    with pytest.raises(EnvironmentFailed, match=message):
        played(environments, 6)


def test_large_finite_numbers_are_no_failure():
    class Huge(Scripted):
        def told(self) -> Any:
            return np.full(3, 3e38, np.float32)

    vector = SyncVectorEnv([lambda: Huge(0, SCRIPTS[0])], autoreset_mode=AutoresetMode.SAME_STEP)
    environments = Environments(vector, seed=0)
    assert environments.step(np.zeros(1, int)).next_observations[0, 0] == np.float32(3e38)

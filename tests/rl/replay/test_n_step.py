from __future__ import annotations

import numpy as np
import pytest
from paceline.rl.playing.acting import Steps
from paceline.rl.replay.n_step import NStep


def random_steps(rng: np.random.Generator, count: int, envs: int, waits: bool) -> list[Steps]:
    """Steps of environments that end at random, and then begin anew with or without a step."""
    steps, begins, clock = [], np.zeros(envs, bool), np.zeros((envs, 1))
    for _ in range(count):
        before, is_real = clock.copy(), ~begins
        clock = clock + 1
        ends = (rng.random(envs) < 0.3) & is_real
        terminated = ends & (rng.random(envs) < 0.5)
        rewards = np.where(is_real, rng.normal(size=envs), 0.0)
        actions, last = rng.integers(3, size=envs), clock.copy()
        steps.append(Steps(before, actions, rewards, last, terminated, ends & ~terminated, is_real))
        clock = clock + 100 * ends[:, None]
        begins = ends if waits else begins
    return steps


def by_definition(steps: list[Steps], n: int, gamma: float) -> list[tuple]:
    """(environment, observation, action, return, next, discount) of each sum that is complete."""
    rows = []
    for env in range(len(steps[0].rewards)):
        for start, first in enumerate(steps):
            if not first.is_real[env]:
                continue
            total = 0.0
            for k, step in enumerate(steps[start : start + n]):
                total += gamma**k * step.rewards[env]
                if step.ended[env] or k == n - 1:
                    discount = 0.0 if step.terminated[env] else gamma ** (k + 1)
                    after = step.next_observations[env, 0]
                    rows.append(
                        (
                            env,
                            first.observations[env, 0],
                            first.actions[env],
                            total,
                            after,
                            discount,
                        )
                    )
                    break
    return sorted(rows)


def collected(steps: list[Steps], collector: NStep) -> list[tuple]:
    """What the collector makes of one environment after the other."""
    rows = []
    for step in steps:
        observations, actions, rewards, after, discounts = collector.push(step)
        rows += zip(observations[:, 0], actions, rewards, after[:, 0], discounts, strict=True)
    return sorted(rows)


@pytest.mark.parametrize("case", range(40))
def test_sums_are_those_of_the_definition(case):
    rng = np.random.default_rng(case)
    n, gamma, envs = int(rng.integers(1, 7)), float(rng.choice([0.0, 0.5, 0.99, 1.0])), 1 + case % 4
    steps = random_steps(rng, 40, envs, waits=bool(case % 2))
    for env in range(envs):  # one at a time: then the rows say whose they are
        alone = [Steps(*(field[env : env + 1] for field in step)) for step in steps]
        found = collected(alone, NStep(n, gamma, 1, (1,)))
        written = [row[1:] for row in by_definition(alone, n, gamma)]
        np.testing.assert_allclose(np.array(found), np.array(written), rtol=0, atol=1e-12)
    together = collected(steps, NStep(n, gamma, envs, (1,)))
    apart = sorted(row[1:] for row in by_definition(steps, n, gamma))
    np.testing.assert_allclose(
        np.array([sorted(r[2] for r in together)]),
        np.array([sorted(r[2] for r in apart)]),
        atol=1e-12,
    )


def test_the_sum_of_three_steps_written_out():
    row = {"terminated": np.array([False]), "truncated": np.array([False])}
    collector, real = NStep(3, 0.5, 1, (1,)), np.array([True])
    for number, reward in enumerate((8.0, 4.0, 2.0)):
        at = np.array([[float(number)]])
        made = collector.push(
            Steps(at, np.array([number]), np.array([reward]), at + 1, is_real=real, **row)
        )
        assert len(made[0]) == (number == 2)
    observations, actions, rewards, after, discounts = made
    assert (observations.item(), actions.item(), after.item()) == (0.0, 0, 3.0)
    assert (rewards.item(), discounts.item()) == (8 + 2 + 0.5, 0.125)


def test_the_oldest_sum_is_handed_out_first_whatever_its_slot():
    for shift in range(4):
        collector = NStep(3, 1.0, 1, (1,))
        for number in range(shift + 3):
            at, ends = np.array([[float(number)]]), np.array([number == shift + 2])
            no, real = np.array([False]), np.array([True])
            made = collector.push(Steps(at, np.array([0]), np.array([1.0]), at + 1, ends, no, real))
        assert made[0][:, 0].tolist() == [shift, shift + 1, shift + 2]
        assert made[2].tolist() == [3, 2, 1]


def test_a_collector_goes_on_from_the_state_of_another():
    steps = random_steps(np.random.default_rng(0), 30, 3, waits=True)
    whole, resumed = NStep(4, 0.9, 3, (1,)), NStep(4, 0.9, 3, (1,))
    for step in steps[:17]:
        whole.push(step)
    resumed.load_state_dict(whole.state_dict())
    assert collected(steps[17:], whole) == collected(steps[17:], resumed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 0.9), "`n_step` must be at least 1"), ((1, 1.5), r"`discount` must be in \[0, 1\]")],
)
def test_what_is_out_of_range_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        NStep(*arguments, 1, (1,))

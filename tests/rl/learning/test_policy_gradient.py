from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.rl.learning.policy_gradient import (
    entropy,
    is_cut,
    mean_and_deviation,
    reinforce_loss,
    returns_to_go,
    standardised,
)

# Two environments for five steps. The first terminates at step 2 and only begins anew at step 3;
# the second is truncated at step 1. Both are cut off by the end of the rollout.
REWARDS = np.array([[1.0, 1.0], [2.0, 4.0], [4.0, 1.0], [0.0, 2.0], [8.0, 4.0]])
TERMINATED = np.array([[0, 0], [0, 0], [1, 0], [0, 0], [0, 0]], bool)
TRUNCATED = np.array([[0, 0], [0, 1], [0, 0], [0, 0], [0, 0]], bool)


def test_returns_of_a_trajectory_worked_out_by_hand():
    # From the end: 4, 2 + 4 / 2 = 4, 1 + 4 / 2 = 3; the episode before is 4, 1 + 4 / 2 = 3.
    seen = returns_to_go(REWARDS, TERMINATED, TRUNCATED, 0.5)
    np.testing.assert_array_equal(seen[:, 1], [3, 4, 3, 4, 4])
    np.testing.assert_array_equal(seen[[0, 1, 2, 4], 0], [1 + 4 / 2, 2 + 4 / 2, 4, 8])


def test_what_comes_after_a_cut_counts_and_nothing_comes_after_a_termination():
    after = np.full((5, 2), 16.0)
    returns = returns_to_go(REWARDS, TERMINATED, TRUNCATED, 0.5, after)
    np.testing.assert_array_equal(returns[:, 1], [1 + 12 / 2, 4 + 16 / 2, 5, 8, 4 + 16 / 2])
    np.testing.assert_array_equal(returns[[0, 1, 2, 4], 0], [3, 4, 4, 8 + 16 / 2])
    where = np.argwhere(is_cut(TERMINATED, TRUNCATED)).tolist()
    assert where == [[1, 1], [4, 0], [4, 1]]


@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("has_after", [True, False])
def test_returns_are_discounted_sums_up_to_the_end_of_the_episode(discount, has_after):
    chance = np.random.default_rng(0)
    rewards, after = chance.normal(size=(2, 60, 7))
    terminated = chance.random((60, 7)) < 0.1
    truncated = chance.random((60, 7)) < 0.1  # both at once: the task ended
    expected = np.zeros((60, 7))
    for start in range(60):
        for n in range(7):
            for step in range(start, 60):
                expected[start, n] += discount ** (step - start) * rewards[step, n]
                if terminated[step, n]:
                    break
                if truncated[step, n] or step == 59:
                    rest = after[step, n] if has_after else 0.0
                    expected[start, n] += discount ** (step + 1 - start) * rest
                    break
    arguments = (rewards, terminated, truncated, discount, after if has_after else None)
    np.testing.assert_allclose(returns_to_go(*arguments), expected, rtol=1e-12, atol=1e-12)
    assert not truncated[-1].all()  # nothing of the arguments was overwritten


@pytest.mark.parametrize("bonus", [0.0, 0.3])
def test_loss_and_its_gradient_are_those_of_the_formula(bonus):
    chance = np.random.default_rng(0)
    given, advantages = chance.normal(size=(50, 3)), chance.normal(size=50)
    actions = chance.integers(3, size=50)
    expected, slope = 0.0, np.zeros((50, 3))
    for b in range(50):
        policy = np.exp(given[b]) / np.exp(given[b]).sum()
        uncertainty = -sum(p * np.log(p) for p in policy)
        expected += (-np.log(policy[actions[b]]) * advantages[b] - bonus * uncertainty) / 50
        for a in range(3):
            chosen = float(a == actions[b])
            slope[b, a] = (policy[a] - chosen) * advantages[b] / 50
            slope[b, a] += bonus * policy[a] * (np.log(policy[a]) + uncertainty) / 50
    scores = torch.tensor(given, requires_grad=True)
    weights = torch.tensor(advantages, requires_grad=True)
    loss = reinforce_loss(scores, torch.tensor(actions), weights, bonus)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(scores.grad, slope, atol=1e-12)
    assert weights.grad is None  # the baseline learns by its own loss


@pytest.mark.parametrize("baseline", [0.0, -3.0, 10.0])
def test_gradient_over_all_actions_is_that_of_the_expected_reward_whatever_the_baseline(baseline):
    # Williams 1992, theorem 1, for one state and three actions, each weighed by its probability.
    rewards = torch.tensor([1.0, 5.0, -2.0], dtype=torch.float64)
    scores = torch.tensor([[0.3, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    policy = scores.softmax(1)[0]
    (wanted,) = torch.autograd.grad((policy * rewards).sum(), scores)
    total = torch.zeros(1, 3, dtype=torch.float64)
    for action in range(3):
        loss = reinforce_loss(scores, torch.tensor([action]), rewards[[action]] - baseline)
        total += policy[action].detach() * torch.autograd.grad(loss, scores)[0]
    torch.testing.assert_close(-total, wanted, rtol=0, atol=1e-12)


def test_entropy_is_zero_when_sure_and_log_a_when_guessing():
    assert float(entropy(torch.zeros(2, 5))) == pytest.approx(np.log(5), abs=1e-6)
    assert float(entropy(torch.tensor([[100.0, 0.0]]))) == pytest.approx(0.0, abs=1e-6)


def test_mean_and_deviation_are_numpys_and_those_of_all_processes_together():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=30)
    ours, theirs = torch.tensor(values[:10]), torch.tensor(values[10:])
    told = [float(number) for number in mean_and_deviation(torch.tensor(values))]
    assert told == pytest.approx([values.mean(), values.std()], abs=1e-12)
    others = iter(
        (
            torch.stack((theirs.sum(), torch.tensor(20.0, dtype=torch.float64))),
            (theirs - values.mean()).square().sum(),
        )
    )
    result = standardised(ours, lambda told: told + next(others))
    np.testing.assert_allclose(result, (values[:10] - values.mean()) / values.std(), atol=1e-7)


def test_equal_values_standardise_to_zero():
    assert not standardised(torch.full((4,), 7.0)).any()

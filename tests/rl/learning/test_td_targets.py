from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.rl.learning.td_targets import best_next_value, td_loss, td_loss_gradient, td_target

RNG = np.random.default_rng(0)
TARGET, ONLINE = RNG.normal(size=(9, 4)), RNG.normal(size=(9, 4))
REWARDS, DISCOUNTS = RNG.normal(size=9), RNG.choice([0.0, 0.99, 0.99**3], size=9)


def test_the_best_next_value_is_the_targets_own_or_for_double_dqn_that_of_the_others_choice():
    target, online = torch.from_numpy(TARGET), torch.from_numpy(ONLINE)
    np.testing.assert_array_equal(best_next_value(target).numpy(), TARGET.max(1))
    double = [TARGET[row, ONLINE[row].argmax()] for row in range(9)]
    np.testing.assert_array_equal(best_next_value(target, online).numpy(), double)
    assert (best_next_value(target, online) < best_next_value(target)).any()


def test_a_target_is_the_reward_and_the_discounted_next_value():
    after = torch.from_numpy(TARGET.max(1))
    found = td_target(torch.from_numpy(REWARDS), torch.from_numpy(DISCOUNTS), after)
    expected = REWARDS + DISCOUNTS * TARGET.max(1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)
    assert np.array_equal(found.numpy()[DISCOUNTS == 0], REWARDS[DISCOUNTS == 0])


@pytest.mark.parametrize("loss", ["huber", "squared"])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_are_those_of_the_formula_and_their_gradient_is_autograds(loss, weighted):
    values = torch.from_numpy(RNG.normal(size=50) * 2).requires_grad_()
    targets = torch.from_numpy(RNG.normal(size=50))
    weights = torch.from_numpy(RNG.random(50)) if weighted else None
    found = td_loss(values, targets, loss, weights)
    distance = abs((values - targets).detach().numpy())
    each = distance**2
    if loss == "huber":
        each = np.where(distance < 1, 0.5 * distance**2, distance - 0.5)
    expected = (each * (weights.numpy() if weights is not None else 1)).mean()
    assert found.item() == pytest.approx(expected, abs=1e-12)
    found.backward()
    by_hand = td_loss_gradient((values - targets).detach(), loss, weights)
    torch.testing.assert_close(values.grad, by_hand, rtol=0, atol=1e-12)

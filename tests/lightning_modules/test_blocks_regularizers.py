from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.regularizers import (
    activation_kl,
    activation_l1,
    elastic_net,
    l1,
    l2,
    regularized_weights,
)
from torch import nn

WEIGHTS = [torch.tensor([[1.0, -2.0], [3.0, 0.5]]), torch.tensor([[-0.25]])]


def test_penalties_follow_the_slide():
    assert l2(WEIGHTS).item() == pytest.approx(1 + 4 + 9 + 0.25 + 0.0625)
    assert l1(WEIGHTS).item() == pytest.approx(1 + 2 + 3 + 0.5 + 0.25)


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_elastic_net_is_beta_parts_of_l2_and_one_of_l1(beta):
    expected = beta * 14.3125 + 6.75
    assert elastic_net(WEIGHTS, l2_share=beta).item() == pytest.approx(expected)


def test_biases_and_normalisations_are_not_penalised():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))
    assert [w.ndim for w in regularized_weights(network)] == [4, 2]


def test_penalties_on_activations_equal_the_sums_written_out():
    a = np.random.default_rng(0).uniform(0.01, 0.99, (6, 4))
    found = activation_l1(torch.from_numpy(a - 0.5)).item()
    assert found == pytest.approx(np.abs(a - 0.5).sum(1).mean(), abs=1e-12)
    rate, target = a.mean(0), 0.05
    on, off = target * np.log(target / rate), (1 - target) * np.log((1 - target) / (1 - rate))
    found = activation_kl(torch.from_numpy(a), target).item()
    assert found == pytest.approx((on + off).sum(), abs=1e-12)


def test_a_unit_at_its_target_rate_costs_nothing_and_a_dead_one_a_finite_price():
    a = torch.tensor([[0.1, 0.0], [0.3, 0.0]], requires_grad=True)
    assert activation_kl(a[:, :1], 0.2).item() == pytest.approx(0, abs=1e-6)
    activation_kl(a, 0.2).backward()
    assert a.grad.isfinite().all()

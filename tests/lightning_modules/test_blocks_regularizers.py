from __future__ import annotations

import pytest
import torch
from paceline.lightning_modules.blocks.regularizers import (
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

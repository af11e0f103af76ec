from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.activations import activation
from paceline.lightning_modules.blocks.initializers import GAINS, INITIALIZERS, init_weights
from torch import nn

FAN_IN, FAN_OUT = 400, 300


def weight_of(name: str, **options) -> torch.Tensor:
    torch.manual_seed(0)
    layer = nn.Linear(FAN_IN, FAN_OUT)
    init_weights(layer, name, **options)
    assert not layer.bias.any()
    return layer.weight.detach()


@pytest.mark.parametrize(
    ("name", "options", "std"),
    [
        ("normal", {"std": 0.3}, 0.3),
        ("xavier", {}, (2 / (FAN_IN + FAN_OUT)) ** 0.5),
        ("kaiming", {"activation": "relu"}, (2 / FAN_IN) ** 0.5),
        ("kaiming", {"activation": "tanh"}, (1 / FAN_IN) ** 0.5),
    ],
)
def test_weights_have_the_published_spread(name, options, std):
    # 120,000 draws: the standard error of their deviation is 0.2 %, so 1.5 % is 7 of them.
    weight = weight_of(name, **options)
    assert weight.std().item() == pytest.approx(std, rel=0.015)
    assert abs(weight.mean().item()) < 0.02 * std


def test_sparse_units_start_with_fifteen_standard_normal_weights():
    weight = weight_of("sparse")
    assert (weight != 0).sum(1).eq(15).all()
    # 4,500 draws: the standard error of their deviation is 1 %.
    assert weight[weight != 0].std().item() == pytest.approx(1, abs=0.05)
    few = nn.Linear(4, 3)
    init_weights(few, "sparse")
    assert few.weight.all()


def test_zeros_are_zeros():
    assert not weight_of("zeros").any()


def test_orthogonal_rows_are_orthonormal_up_to_the_gain():
    weight = weight_of("orthogonal", activation="relu").double()
    expected = 2 * torch.eye(FAN_OUT, dtype=torch.float64)
    torch.testing.assert_close(weight @ weight.T, expected, rtol=0, atol=1e-5)


def test_kaiming_counts_the_whole_window_of_a_convolution():
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 256, 5)
    init_weights(layer, "kaiming", activation="relu")
    assert layer.weight.std().item() == pytest.approx((2 / (16 * 25)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("name", GAINS)
def test_gain_keeps_the_mean_square_of_the_signal(name):
    z = np.linspace(-10, 10, 200_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    mean_square = np.trapezoid(activation(name)(torch.tensor(z)).numpy() ** 2 * density, z)
    assert GAINS[name] == pytest.approx(mean_square**-0.5, rel=1e-4)


def test_unknown_name_and_bad_spread_are_refused():
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=f"`weight_init` must be one of {', '.join(INITIALIZERS)}"):
        init_weights(layer, "he")
    for std in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="`weight_init_std` must be a positive number"):
            init_weights(layer, "normal", std=std)

from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.activations import ACTIVATIONS, activation, width_factor
from paceline.lightning_modules.mlp import MLPNetwork

X = torch.linspace(-4, 4, 81, dtype=torch.float64)

FORMULAS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(0, x),
    "leaky_relu": lambda x: np.maximum(0.1 * x, x),
    "elu": lambda x: np.where(x >= 0, x, np.exp(x) - 1),
    "linear": lambda x: x,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_activation_follows_the_formula_on_the_slide(name):
    expected = FORMULAS[name](X.numpy())
    np.testing.assert_allclose(activation(name)(X).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pieces", [2, 3])
def test_maxout_is_the_largest_of_its_affine_maps(pieces):
    network = MLPNetwork(5, 2, [4], "maxout", maxout_pieces=pieces).double()
    linear = network[1]
    x = torch.randn(7, 5, dtype=torch.float64)
    weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    maps = (x.numpy() @ weight.T + bias).reshape(7, 4, pieces)
    hidden = network[2](linear(x)).detach().numpy()
    np.testing.assert_allclose(hidden, maps.max(2), rtol=0, atol=1e-12)


def test_only_maxout_needs_a_wider_layer_below():
    factors = {name: width_factor(name, maxout_pieces=3) for name in ACTIVATIONS}
    assert factors == dict.fromkeys(ACTIVATIONS, 1) | {"maxout": 3}


def test_unknown_activation_lists_the_valid_names_and_the_nearest():
    with pytest.raises(ValueError, match="`activation` must be one of sigmoid, tanh") as caught:
        activation("rellu")
    assert caught.value.__notes__ == ["did you mean 'relu'?"]


def test_one_piece_is_refused():
    with pytest.raises(ValueError, match="`maxout_pieces` must be a whole number of at least 2"):
        activation("maxout", maxout_pieces=1)

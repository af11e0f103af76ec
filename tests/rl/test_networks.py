from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from paceline.rl.learning.rectifier_mlp import RectifierMLP
from paceline.rl.networks import Dueling, Grey, make_network
from torch import nn

VECTOR = spaces.Box(-1, 1, (4,), np.float32)
PICTURES = spaces.Box(0, 255, (4, 84, 84), np.uint8)


def test_an_mlp_of_rectifiers_on_vectors_has_its_gradient_written_out():
    assert isinstance(make_network(VECTOR, 2), RectifierMLP)
    assert not isinstance(make_network(VECTOR, 2, activation="tanh"), RectifierMLP)
    assert not isinstance(make_network(VECTOR, 2, dueling=True), RectifierMLP)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int32])
def test_vectors_of_any_numbers_are_taken(activation, dtype):
    space = spaces.Box(0, 9, (3,), dtype)
    network = make_network(space, 5, hidden_sizes=[8], activation=activation)
    x = torch.from_numpy(np.ones((6, 3), dtype))
    assert network(x).shape == (6, 5)
    assert network(x).dtype == torch.float32


@pytest.mark.parametrize("start", [0, 3])
def test_numbered_states_are_taken_one_hot_whatever_the_first_number(start):
    network = make_network(spaces.Discrete(4, start=start), 3, hidden_sizes=[])
    values = network(torch.arange(start, start + 4))
    linear = next(m for m in network.modules() if isinstance(m, nn.Linear))
    torch.testing.assert_close(values, linear.weight.t() + linear.bias, rtol=0, atol=1e-6)


def test_the_cnn_is_that_of_the_paper():
    network = make_network(PICTURES, 6, "cnn")
    sizes = [tuple(m.weight.shape) for m in network.modules() if hasattr(m, "weight")]
    assert sizes == [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136), (6, 512)]
    assert sum(p.numel() for p in network.parameters()) == 1_687_206  # of the paper's, 6 actions
    assert network(torch.zeros(2, 4, 84, 84, dtype=torch.uint8)).shape == (2, 6)


def test_bytes_are_scaled_and_other_pictures_left_as_they_are():
    floats = spaces.Box(0, 1, (1, 36, 36), np.float32)
    assert not any(isinstance(m, Grey) for m in make_network(floats, 2, "cnn").modules())
    assert any(isinstance(m, Grey) for m in make_network(PICTURES, 2, "cnn").modules())
    assert Grey()(torch.tensor([[255, 0]], dtype=torch.uint8)).tolist() == [[1.0, 0.0]]


def test_dueling_heads_add_the_value_to_advantages_of_mean_zero():
    network = make_network(VECTOR, 5, dueling=True)
    head = next(m for m in network.modules() if isinstance(m, Dueling))
    features = torch.randn(7, 64)
    values = head(features)
    torch.testing.assert_close(values.mean(1, keepdim=True), head.value(features))
    advantage = head.advantage(features)
    centred = advantage - advantage.mean(1, keepdim=True)
    torch.testing.assert_close(values - values.mean(1, keepdim=True), centred, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("space", "network", "message"),
    [
        (PICTURES, "mlp", r"`network` must be cnn for observations of shape \(4, 84, 84\)"),
        (VECTOR, "cnn", r"`network` must be mlp for observations of shape \(4,\)"),
        (VECTOR, "rnn", "`network` must be one of mlp, cnn"),
        (spaces.Box(0, 255, (84, 84), np.uint8), "cnn", r"\(channels, height, width\)"),
        (spaces.Box(0, 255, (3, 20, 20), np.uint8), "cnn", "at least 36 x 36"),
        (spaces.Tuple([VECTOR, VECTOR]), "mlp", "one array"),
        (spaces.MultiDiscrete([2, 3]), "mlp", "one array"),
    ],
)
def test_observations_that_do_not_fit_are_named(space, network, message):
    with pytest.raises(ValueError, match=message):
        make_network(space, 2, network)


def test_sizes_of_hidden_layers_are_checked():
    with pytest.raises(ValueError, match="`hidden_sizes` must be whole numbers of at least 1"):
        make_network(VECTOR, 2, hidden_sizes=[8, 0])

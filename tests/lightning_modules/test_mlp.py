from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.activations import ACTIVATIONS
from paceline.lightning_modules.mlp import MLP, MLPNetwork
from torch import nn

XOR = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR_LABELS = torch.tensor([0, 1, 1, 0])


def linears(network: nn.Module) -> list[nn.Linear]:
    return [m for m in network.modules() if isinstance(m, nn.Linear)]


def accuracy_on_xor(model: MLP) -> float:
    """Train on the four points with full batches and count how many are right."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        model.data_loss(model(XOR), XOR_LABELS).backward()
        optimizer.step()
    return (model(XOR).argmax(1) == XOR_LABELS).float().mean().item()


def test_forward_pass_agrees_with_the_deck_s_numpy_program():
    network = MLPNetwork(3, 1, [4, 4], "sigmoid").double()
    for layer in linears(network):
        nn.init.normal_(layer.bias)
    parameters = [p.detach().numpy() for layer in linears(network) for p in layer.parameters()]
    w1, b1, w2, b2, w3, b3 = parameters
    x = np.random.default_rng(0).normal(size=(5, 3))

    def f(x):
        return 1 / (1 + np.exp(-x))

    expected = f(f(x @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    found = network(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "elu", "linear"])
def test_gradient_of_every_weight_agrees_with_central_differences(activation):
    torch.manual_seed(0)
    network = MLPNetwork(3, 2, [4, 4], activation).double()
    x = torch.randn(6, 3, dtype=torch.float64)

    def loss(*parameters):
        named = dict(zip(dict(network.named_parameters()), parameters, strict=True))
        return torch.func.functional_call(network, named, x).square().mean()

    assert torch.autograd.gradcheck(loss, tuple(network.parameters()))


def test_a_line_cannot_separate_xor_and_one_hidden_layer_can():
    torch.manual_seed(0)
    assert accuracy_on_xor(MLP(2, 2, hidden_sizes=[])) <= 0.75
    assert accuracy_on_xor(MLP(2, 2, hidden_sizes=[8], activation="tanh")) == 1.0


def test_depth_without_activation_is_still_a_line():
    torch.manual_seed(0)
    assert accuracy_on_xor(MLP(2, 2, hidden_sizes=[8, 8], activation="linear")) <= 0.75


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden_sizes", [[], [7], [7, 5], [7, 5, 3]])
def test_layers_are_as_wide_as_asked_for(hidden_sizes, activation):
    network = MLPNetwork(6, 3, hidden_sizes, activation)
    factor = 2 if activation == "maxout" else 1
    widths = [6, *hidden_sizes, 3]
    outer = [factor * size for size in hidden_sizes] + [3]
    expected = list(zip(widths[:-1], outer, strict=True))
    assert [(m.in_features, m.out_features) for m in linears(network)] == expected
    assert network(torch.zeros(2, 6)).shape == (2, 3)


def test_dropout_and_batch_norm_stand_around_each_activation():
    network = MLPNetwork(6, 3, [7, 5], dropout=0.5, batch_norm=True)
    names = [type(m).__name__ for m in network]
    hidden = ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    assert names == ["Flatten", *hidden, *hidden, "Linear"]


def test_images_are_flattened_and_named_in_the_checkpoint_by_plain_values():
    model = MLP(in_shape=[3, 4, 5], num_classes=10, hidden_sizes=[8])
    assert model.example_input_array.shape == (2, 3, 4, 5)
    assert model(model.example_input_array).shape == (2, 10)
    plain = (int, float, str, bool, list, type(None))
    assert all(isinstance(value, plain) for value in model.hparams.values())
    assert "network" not in model.hparams


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dropout": 1.0}, "`dropout` must be in [0, 1), but is 1.0."),
        ({"dropout": float("nan")}, "`dropout` must be in [0, 1), but is nan."),
        ({"dropout": 0.5, "hidden_sizes": []}, "`dropout` must be 0 without hidden layers, "),
        ({"hidden_sizes": [64, 0]}, "`hidden_sizes` must be whole numbers of at least 1, "),
        ({"activation": "swish"}, "`activation` must be one of sigmoid, tanh, relu, "),
        ({"activation": "maxout", "maxout_pieces": 0}, "`maxout_pieces` must be a whole number"),
        ({"weight_init": "he"}, "`weight_init` must be one of zeros, normal, xavier, "),
        ({"weight_init_std": 0.0}, "`weight_init_std` must be a positive number, but is 0.0."),
        ({"in_features": None}, "`in_features` must be a whole number of at least 1, "),
        ({"in_features": 0}, "`in_features` must be a whole number of at least 1, but is 0."),
        ({"in_shape": [1, 3, 3]}, "`in_features` must be 9, the product of `in_shape` "),
        ({"num_classes": None}, "`num_classes` must be a whole number of at least 2, "),
        ({"num_classes": 1}, "`num_classes` must be a whole number of at least 2, but is 1."),
        ({"class_names": ["a"]}, "`class_names` must be 3 names, but is ['a']."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        MLP(**{"in_features": 4, "num_classes": 3, **arguments})
    assert str(caught.value).startswith(message)

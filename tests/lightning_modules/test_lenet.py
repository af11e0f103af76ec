from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.activations import ACTIVATIONS
from paceline.lightning_modules.lenet import LeNet, LeNetNetwork
from paceline.lightning_modules.lenet_1998 import (
    C3_INPUTS,
    LeNet1998Network,
    RBFOutput,
    ScaledTanh,
    Subsampling,
    TableConvolution,
)
from torch import nn
from torch.nn import functional as F

# The paper, section II.B: what each layer has to learn, and the maps it makes.
LEARNED = {"C1": 156, "S2": 12, "C3": 1516, "S4": 32, "C5": 48_120}
MAPS = {"C1": (6, 28), "S2": (6, 14), "C3": (16, 10), "S4": (16, 5), "C5": (120, 1)}

# Table I as it is printed: rows are maps of S2, columns maps of C3, a cross where they connect.
TABLE_I = """
X...XXX..XXXX.XX
XX...XXX..XXXX.X
XXX...XXX..X.XXX
.XXX..XXXX..X.XX
..XXX..XXXX.XX.X
...XXX..XXXX.XXX
"""


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_layers_of_1998_have_the_published_sizes():
    network = LeNet1998Network([1, 32, 32], 10)
    layers = dict(network.features.named_children())
    assert {name: count(layers[name]) for name in LEARNED} == LEARNED
    assert count(network.classifier.get_submodule("F6")) == 10_164
    assert count(network) == 60_000  # "and 60,000 trainable free parameters"
    assert count(LeNet1998Network([1, 32, 32], 10, output="linear")) == 60_000 + 850


def test_maps_of_1998_have_the_published_shapes():
    x, found = torch.zeros(1, 1, 32, 32), {}
    for name, layer in LeNet1998Network([1, 32, 32], 10).features.named_children():
        x = layer(x)
        found[name] = (x.shape[1], x.shape[2])
    assert {name: found[name] for name in MAPS} == MAPS


def test_table_i_is_that_of_the_paper():
    crosses = np.array([list(line) for line in TABLE_I.split()]) == "X"  # (6, 16)
    ours = [[s2 in row for row in C3_INPUTS] for s2 in range(6)]
    np.testing.assert_array_equal(ours, crosses)


def test_table_convolution_sees_the_maps_of_its_table_only():
    torch.manual_seed(0)
    layer = TableConvolution(C3_INPUTS, 6, 5).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 6, 9, 9, dtype=torch.float64)
    kernels, expected = iter(layer.weight), []
    for number, row in enumerate(C3_INPUTS):
        maps = [F.conv2d(x[:, [i]], next(kernels)[None, None]) for i in row]
        expected.append(sum(maps) + layer.bias[number])
    torch.testing.assert_close(layer(x), torch.cat(expected, 1), rtol=0, atol=1e-12)


def test_subsampling_is_coefficient_times_sum_of_four_plus_bias():
    layer = Subsampling(2).double()
    nn.init.normal_(layer.bias)
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 6))
    total = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
    scale, shift = (p.detach().numpy()[:, None, None] for p in layer.parameters())
    found = layer(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, scale * total + shift, rtol=0, atol=1e-12)


def test_scaled_tanh_maps_one_to_one():
    x = torch.tensor([-1.0, 0.0, 1.0, 100.0])
    expected = torch.tensor([-1.0, 0.0, 1.0, 1.7159])
    torch.testing.assert_close(ScaledTanh()(x), expected, rtol=0, atol=1e-4)
    assert ScaledTanh()(torch.tensor(0.5)).item() == pytest.approx(1.7159 * math.tanh(1 / 3))


def test_rbf_scores_are_minus_squared_distances_to_codes_of_plus_and_minus_one():
    layer = RBFOutput(84, 10).double()
    codes = layer.get_buffer("codes")
    x = torch.randn(5, 84, dtype=torch.float64)
    torch.testing.assert_close(layer(x), -torch.cdist(x, codes).square(), rtol=0, atol=1e-10)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    assert count(layer) == 0


def test_codes_are_kept_in_the_checkpoint():
    first, second = (LeNet1998Network([1, 32, 32], 10) for _ in range(2))
    x = torch.randn(2, 1, 32, 32)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second(x), first(x), rtol=0, atol=0)


def test_forward_pass_of_1998_agrees_with_its_layers_written_out():
    torch.manual_seed(0)
    network = LeNet1998Network([1, 28, 28], 10, padding=2, output="linear").double()
    layers = dict(network.features.named_children())
    f6, output = (network.classifier.get_submodule(name) for name in ("F6", "output"))
    x = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    h = F.pad(x, (2, 2, 2, 2), mode="replicate")
    for name in ("C1", "S2", "C3", "S4", "C5"):
        h = 1.7159 * (2 * layers[name](h) / 3).tanh()
    h = 1.7159 * (2 * f6(h.reshape(2, 120)) / 3).tanh()
    torch.testing.assert_close(network(x), output(h), rtol=0, atol=1e-10)


def test_modern_network_agrees_with_one_of_torch_layers():
    torch.manual_seed(0)
    ours = LeNetNetwork([1, 28, 28], 10, padding=2)
    theirs = nn.Sequential(
        nn.ReplicationPad2d(2),
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    nn.utils.vector_to_parameters(
        nn.utils.parameters_to_vector(ours.parameters()), theirs.parameters()
    )
    x = torch.randn(4, 1, 28, 28)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)
    assert count(ours) == 61_706


def test_dropout_stands_before_each_fully_connected_layer():
    names = [type(m).__name__ for m in LeNetNetwork([1, 32, 32], 10, dropout=0.5).classifier]
    hidden = ["Dropout", "Linear", "ReLU"]
    assert names == [*hidden, *hidden, "Dropout", "Linear"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("in_shape", [[1, 28, 28], [3, 32, 32], [1, 48, 40]])
def test_pictures_of_all_sizes_get_their_scores(in_shape, activation):
    model = LeNet(in_shape, 5, activation=activation, channels=[2, 3], hidden_sizes=[7])
    assert model(model.example_input_array).shape == (2, 5)


@pytest.mark.parametrize("in_shape", [[1, 28, 28], [3, 32, 32], [1, 48, 40]])
def test_pictures_of_all_sizes_get_their_scores_in_1998(in_shape):
    model = LeNet(in_shape, 5, variant="1998")
    assert model(model.example_input_array).shape == (2, 5)


def test_only_pictures_of_28_pixels_are_padded_unless_asked_for():
    def padded(**arguments) -> torch.Size:
        padding = LeNet(num_classes=3, **arguments).network.get_submodule("features.0")
        return padding(torch.zeros(1, 1, 28, 28)).shape

    assert padded(in_shape=[1, 28, 28])[2:] == (32, 32)
    assert padded(in_shape=[1, 28, 28], padding=0)[2:] == (28, 28)
    assert padded(in_shape=[1, 32, 32])[2:] == (28, 28)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "1989"}, "`variant` must be one of modern, 1998, but is '1989'."),
        ({"in_shape": None}, "`in_shape` must be [channels, height, width], each at least 1"),
        ({"in_shape": [784]}, "`in_shape` must be [channels, height, width], each at least 1"),
        ({"num_classes": 1}, "`num_classes` must be a whole number of at least 2, but is 1."),
        (
            {"in_shape": [1, 8, 8]},
            "`in_shape` must be large enough for every layer, but is [1, 8, 8]: Conv2d number 2 ",
        ),
        (
            {"in_shape": [1, 14, 14], "variant": "1998"},
            "`in_shape` must be large enough for every layer, but is [1, 14, 14]: ",
        ),
        ({"padding": -1}, "`padding` must be 0 or above, but is -1."),
        ({"channels": [6]}, "`channels` must be two whole numbers of at least 1, but is [6]."),
        ({"hidden_sizes": [0]}, "`hidden_sizes` must be whole numbers of at least 1, but is [0]."),
        ({"dropout": 1.0}, "`dropout` must be in [0, 1), but is 1.0."),
        ({"activation": "swish"}, "`activation` must be one of sigmoid, tanh, relu, "),
        ({"output": "rbf"}, "`output` must be left open with variant 'modern', but is 'rbf'."),
        ({"variant": "1998", "output": "x"}, "`output` must be one of rbf, linear, but is 'x'."),
        (
            {"variant": "1998", "activation": "relu"},
            "`activation` must be left open with variant '1998', but is 'relu'.",
        ),
        (
            {"variant": "1998", "channels": [6, 16]},
            "`channels` must be left open with variant '1998', but is [6, 16].",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        LeNet(**{"in_shape": [1, 28, 28], "num_classes": 10, **arguments})
    assert str(caught.value).startswith(message)

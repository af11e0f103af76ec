from __future__ import annotations

import pytest
import torch
from paceline.lightning_modules.blocks.connectivity import (
    LocallyConnected2d,
    RandomSparseLinear,
    Residual,
)
from paceline.lightning_modules.mlp import MLP, MLPNetwork
from torch import nn

SHAPE = (2, 7, 9)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding", "bias"),
    [(3, 1, 0, True), (3, 2, 1, True), (2, 3, 2, False), (1, 1, 0, True), (7, 1, 0, True)],
)
def test_a_tied_layer_is_the_convolution(kernel_size, stride, padding, bias):
    convolution = nn.Conv2d(2, 5, kernel_size, stride, padding, bias=bias).double()
    layer = LocallyConnected2d.from_convolution(convolution, SHAPE)
    x = torch.randn(4, *SHAPE, dtype=torch.float64)
    torch.testing.assert_close(layer(x), convolution(x), rtol=0, atol=1e-12)


def test_its_weights_are_not_shared():
    """The gradients of all places add up to that of the kernel that a convolution shares."""
    convolution = nn.Conv2d(2, 5, 3).double()
    layer = LocallyConnected2d.from_convolution(convolution, SHAPE)
    x = torch.randn(4, *SHAPE, dtype=torch.float64)
    target = torch.randn(4, 5, 5, 7, dtype=torch.float64)
    for module in (convolution, layer):
        (module(x) * target).sum().backward()
    summed = layer.weight.grad.sum(0).view_as(convolution.weight)
    torch.testing.assert_close(summed, convolution.weight.grad, rtol=0, atol=1e-10)
    bias = layer.bias.grad.sum((1, 2))
    torch.testing.assert_close(bias, convolution.bias.grad, rtol=0, atol=1e-10)
    before = layer(x).detach()
    with torch.no_grad():
        layer.weight[8] += 1  # the place in row 1, column 1: there are 7 columns
    changed = (layer(x) != before).any(0).any(0)
    assert changed.nonzero().tolist() == [[1, 1]]


def test_it_has_as_many_weights_as_places_times_kernel():
    layer = LocallyConnected2d(SHAPE, 5, 3, stride=2, padding=1)
    assert layer(torch.zeros(1, *SHAPE)).shape == (1, 5, 4, 5)
    assert layer.weight.numel() == 4 * 5 * (2 * 3 * 3) * 5


@pytest.mark.parametrize(
    ("convolution", "message"),
    [
        (nn.Conv2d(2, 5, 3, dilation=2), "`convolution` must be one of channels, kernel, "),
        (nn.Conv2d(2, 4, 3, groups=2), "`convolution` must be one of channels, kernel, "),
        (nn.Conv2d(2, 5, (3, 2)), "`convolution` must be one with the same numbers for height"),
    ],
)
def test_another_geometry_is_refused(convolution, message):
    with pytest.raises(ValueError, match="must be") as caught:
        LocallyConnected2d.from_convolution(convolution, SHAPE)
    assert str(caught.value).startswith(message)


def test_a_picture_smaller_than_the_kernel_is_refused():
    with pytest.raises(ValueError, match="`in_shape` must be at least 8 wide and high"):
        LocallyConnected2d(SHAPE, 5, 8)
    assert LocallyConnected2d(SHAPE, 5, 8, padding=1).out_size == (2, 4)


def test_unwired_weights_stay_zero_and_get_no_gradient():
    layer = RandomSparseLinear(40, 30, density=0.2, seed=3)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, weight_decay=0.1)
    x, y = torch.randn(16, 40), torch.randn(16, 30)
    for _ in range(5):
        optimizer.zero_grad()
        (layer(x) - y).square().mean().backward()
        assert not layer.weight.grad[~layer.mask].any()
        assert layer.weight.grad[layer.mask].all()
        optimizer.step()
    assert not layer.weight[~layer.mask].any()
    assert layer.weight[layer.mask].all()
    expected = x @ torch.where(layer.mask, layer.weight, 0).T + layer.bias
    torch.testing.assert_close(layer(x), expected)


def test_wiring_has_its_density_and_is_the_seeds():
    wide = RandomSparseLinear(400, 300, density=0.1, seed=1)
    # 120,000 coins: the standard error of their share is 0.0009.
    assert wide.mask.float().mean().item() == pytest.approx(0.1, abs=0.005)
    assert torch.equal(wide.mask, RandomSparseLinear(400, 300, density=0.1, seed=1).mask)
    assert not torch.equal(wide.mask, RandomSparseLinear(400, 300, density=0.1, seed=2).mask)
    assert RandomSparseLinear(400, 300, density=1e-9).mask.sum(1).eq(1).all()
    assert RandomSparseLinear(5, 4, density=1.0).mask.all()


def test_wiring_travels_with_the_weights():
    first, second = RandomSparseLinear(9, 8, 0.3, seed=1), RandomSparseLinear(9, 8, 0.3, seed=2)
    second.load_state_dict(first.state_dict())
    x = torch.randn(4, 9)
    assert torch.equal(first(x), second(x))


def test_sums_of_fewer_inputs_are_as_large():
    full = nn.Linear(2000, 500, bias=False)
    nn.init.normal_(full.weight, std=2000**-0.5)
    sparse = RandomSparseLinear(2000, 500, density=0.05, bias=False)
    sparse.fill(full.weight.detach())
    # The variance of 500 outputs over 200 rows is 1 up to 2 %.
    assert sparse(torch.randn(200, 2000)).var().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("density", [0.0, 1.1, float("nan")])
def test_density_outside_its_range_is_refused(density):
    with pytest.raises(ValueError, match=r"`density` must be in \(0, 1\]"):
        RandomSparseLinear(3, 2, density)


def test_a_residual_adds_its_input():
    branch, shortcut, x = nn.Linear(3, 5), nn.Linear(3, 5), torch.randn(4, 3)
    torch.testing.assert_close(Residual(branch, shortcut)(x), branch(x) + shortcut(x))
    branch = nn.Linear(3, 3)
    torch.testing.assert_close(Residual(branch)(x), branch(x) + x)


# By name, in a perceptron.


def test_a_perceptron_can_be_wired_at_random():
    network = MLPNetwork(50, 3, [40, 40], connectivity="random_sparse", density=0.2)
    kinds = [type(m).__name__ for m in network]
    hidden = ["RandomSparseLinear", "ReLU"]
    assert kinds == ["Flatten", *hidden, *hidden, "Linear"]
    masks = [m.mask for m in network if isinstance(m, RandomSparseLinear)]
    assert masks[0].float().mean().item() == pytest.approx(0.2, abs=0.05)
    assert not any(m.bias.any() for m in network if isinstance(m, RandomSparseLinear))


def test_a_perceptron_skips_hidden_layers_of_equal_width():
    network = MLPNetwork(8, 3, [8, 8, 5, 5], dropout=0.5, connectivity="residual")
    kinds = [type(m).__name__ for m in network]
    hidden = ["Linear", "ReLU", "Dropout"]
    assert kinds == ["Flatten", *hidden, "Residual", *hidden, "Residual", "Linear"]
    network.eval()
    first, second = network[1], network[4].branch[0]
    x = torch.randn(4, 8)
    h = first(x).relu()
    torch.testing.assert_close(nn.Sequential(*network)[:5](x), h + second(h).relu())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"connectivity": "sparse"}, "`connectivity` must be one of full, random_sparse, residual"),
        ({"density": 0.5}, "`density` must be left at 0.1 unless `connectivity` is random_sparse"),
        ({"connectivity": "random_sparse", "density": 0.0}, "`density` must be in (0, 1], but is"),
        (
            {"connectivity": "random_sparse", "hidden_sizes": []},
            "`connectivity` must be full without hidden layers, but is 'random_sparse'.",
        ),
        (
            {"connectivity": "residual", "hidden_sizes": [4, 5]},
            "`hidden_sizes` must be two equal numbers side by side where `connectivity` is ",
        ),
    ],
)
def test_wirings_without_effect_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        MLP(4, 3, **arguments)
    assert str(caught.value).startswith(message)

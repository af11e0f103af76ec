from __future__ import annotations

import copy
import itertools

import pytest
import torch
from paceline.rl.learning.rectifier_mlp import RectifierMLP
from torch import Tensor, nn
from torch.nn import functional as F


def network(*sizes: int, seed: int = 0) -> tuple[RectifierMLP, nn.Sequential]:
    """The network and its twin of torch's modules."""
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    parts = [part for layer in layers for part in (layer, nn.ReLU())][:-1]
    return RectifierMLP(layers), nn.Sequential(*parts)


def flat_gradient(twin: nn.Sequential) -> Tensor:
    return torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None])


def agree(mlp: RectifierMLP, x: Tensor) -> None:
    """What the cached views give is what autograd gives for the weights as they are."""
    outputs = mlp(x)
    (expected,) = torch.autograd.grad(outputs.square().sum(), mlp.theta)
    values = mlp.values(x)
    torch.testing.assert_close(values[-1], outputs.detach(), rtol=0, atol=1e-6)
    with torch.no_grad():
        mlp.backward(values, 2 * values[-1])
    torch.testing.assert_close(mlp.theta.grad, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 2), (4, 64, 64, 3)])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_values_and_gradient_are_autograds(sizes, dtype, atol):
    mlp, twin = network(*sizes)
    mlp, twin = mlp.to(dtype), twin.to(dtype)
    x = torch.randn(16, sizes[0], dtype=dtype)
    targets = torch.randn(16, sizes[-1], dtype=dtype)
    F.mse_loss(twin(x), targets).backward()
    values = mlp.values(x)
    torch.testing.assert_close(values[-1], twin(x).detach(), rtol=0, atol=atol)
    torch.testing.assert_close(mlp(x), twin(x), rtol=0, atol=atol)
    for _ in range(2):  # it sets the gradient and adds nothing to it
        mlp.backward(mlp.values(x), 2 * (values[-1] - targets) / targets.numel())
    torch.testing.assert_close(mlp.theta.grad, flat_gradient(twin), rtol=0, atol=atol)


def test_the_input_is_left_as_it_is():
    mlp, _ = network(3, 5, 2)
    x = torch.randn(4, 3)
    before = x.clone()
    mlp.values(x)
    assert torch.equal(x, before)


def test_whatever_replaces_the_weights_is_seen():
    x = torch.randn(8, 4)
    mlp, _ = network(4, 6, 3)
    other, _ = network(4, 6, 3, seed=9)
    agree(mlp, x)
    mlp.load_state_dict(other.state_dict())
    agree(mlp, x)
    twin = copy.deepcopy(mlp)
    with torch.no_grad():
        mlp.theta.mul_(2)
    agree(mlp, x)
    agree(twin, x)
    assert not torch.equal(mlp.values(x)[-1], twin.values(x)[-1])
    torch.optim.SGD(mlp.parameters(), 0.1).step()
    agree(mlp, x)
    mlp.theta.data = torch.randn_like(mlp.theta)  # an optimizer that replaces storage
    agree(mlp, x)
    mlp.theta.grad = None
    agree(mlp, x)
    mlp.zero_grad(set_to_none=False)
    agree(mlp, x)
    agree(mlp.double(), x.double())
    agree(mlp.float(), x)
    mlp.load_state_dict(other.state_dict(), assign=True)
    agree(mlp, x)
    torch.testing.assert_close(mlp.values(x)[-1], other.values(x)[-1], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8, torch.int64])
def test_numbers_of_any_type_are_taken(dtype):
    mlp, twin = network(3, 5, 2)
    x = torch.randint(0, 9, (4, 3)).to(dtype)
    torch.testing.assert_close(mlp.values(x)[-1], twin(x.float()).detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(mlp(x), twin(x.float()), rtol=0, atol=1e-6)

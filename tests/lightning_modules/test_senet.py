from __future__ import annotations

import pytest
import torch
from paceline.lightning_modules.blocks.residual import ResidualBlock
from paceline.lightning_modules.resnet import ResNet
from paceline.lightning_modules.senet import SEResNet, SqueezeExcitation
from torch import nn


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_squeeze_and_excitation_agrees_with_equations_2_to_4_of_the_paper():
    torch.manual_seed(0)
    block, x = SqueezeExcitation(32, 4), torch.randn(3, 32, 5, 6)
    z = x.sum((2, 3)) / 30  # equation 2
    hidden = torch.clamp(z @ block.fc1.weight.T + block.fc1.bias, min=0)
    s = 1 / (1 + torch.exp(-(hidden @ block.fc2.weight.T + block.fc2.bias)))  # equation 3
    expected = torch.einsum("bchw,bc->bchw", x, s)  # equation 4
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


def test_se_resnet_50_adds_the_published_parameters():
    with torch.device("meta"):
        network = SEResNet([3, 224, 224], 1000, depth=50).network
    # Section 4: 2 C^2 / r weights a block; the layers have biases besides.
    blocks = {256: 3, 512: 4, 1024: 6, 2048: 3}
    added = sum(n * (2 * c * c // 16 + c + c // 16) for c, n in blocks.items())
    assert added == 2_530_992
    assert size(network) == 25_557_032 + added


def test_every_branch_is_scaled_before_the_sum():
    torch.manual_seed(0)
    model = SEResNet([3, 16, 16], 4, depth=8, design="cifar").eval()
    x = torch.randn(2, 3, 16, 16)
    blocks = [m for m in model.network.modules() if isinstance(m, ResidualBlock)]
    assert len(blocks) == 3
    for block in blocks:
        assert isinstance(block.gate, SqueezeExcitation)
        block.gate.fc2.bias.data.fill_(-100)  # shuts the branch
    first = blocks[0]
    y = torch.randn(2, 16, 16, 16).relu()
    torch.testing.assert_close(first(y), y, rtol=0, atol=1e-6)
    assert model(x).isfinite().all()


def test_without_gates_it_is_the_residual_network():
    torch.manual_seed(0)
    model = SEResNet([3, 16, 16], 4, depth=8, design="cifar").eval()
    plain = ResNet([3, 16, 16], 4, depth=8, design="cifar").eval()
    own = {n: t for n, t in model.state_dict().items() if ".gate." not in n}
    plain.load_state_dict(own)
    x = torch.randn(2, 3, 16, 16)
    assert not torch.allclose(model(x), plain(x), atol=1e-3)
    for block in model.network.modules():
        if isinstance(block, ResidualBlock):
            block.gate = None
    assert torch.equal(model(x), plain(x))


@pytest.mark.parametrize("reduction", [0, 17])
def test_a_bottleneck_without_a_unit_is_told(reduction):
    told = f"`reduction` must be a whole number from 1 to the 16 channels .*, but is {reduction}"
    with pytest.raises(ValueError, match=told):
        SEResNet([3, 32, 32], 10, depth=20, design="cifar", reduction=reduction)

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from paceline.lightning_modules.blocks.residual import ResidualBlock
from paceline.lightning_modules.resnet import ResidualNetwork, ResNet
from torch import Tensor, nn
from torch.nn import functional as F

State = Mapping[str, Tensor]

# Parameters at 1000 classes: the model metadata that torchvision publishes.
PUBLISHED = {
    18: 11_689_512,
    34: 21_797_672,
    50: 25_557_032,
    101: 44_549_160,
    152: 60_192_808,
}
# Parameters of the CIFAR-10 nets in millions: table 6 of the paper.
CIFAR = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}


def on_meta(*arguments, **named) -> ResidualNetwork:
    """A network whose shapes are known and whose weights take no memory."""
    with torch.device("meta"):
        return ResidualNetwork(*arguments, **named)


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def shapes_of_stages(network: ResidualNetwork, *in_shape: int) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for name in network.stages:
        layer = network.get_submodule(name)
        layer.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape[1:])))
    network(torch.empty(1, *in_shape, device="meta"))
    return found


def awake(network: nn.Module) -> nn.Module:
    """Give batch norm the statistics and scales of a network that has trained."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def normalized(x: Tensor, state: State, conv: str, bn: str, stride: int = 1) -> Tensor:
    """A convolution and its batch norm, written out from the names in the state dict."""
    weight = state[f"{conv}.weight"]
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
    part = {key: state[f"{bn}.{key}"][:, None, None] for key in ("weight", "bias")}
    mean, var = (state[f"{bn}.running_{key}"][:, None, None] for key in ("mean", "var"))
    return (x - mean) / (var + 1e-5).sqrt() * part["weight"] + part["bias"]


def reference(x: Tensor, state: State, num_convs: int, place: int, pools: bool) -> Tensor:
    """A residual network of the state dict alone; `place` is the convolution with the stride."""
    x = normalized(x, state, "conv1", "bn1", stride=2 if pools else 1).relu()
    if pools:
        x = F.max_pool2d(x, 3, 2, padding=1)
    blocks = [n.removesuffix(".conv1.weight") for n in state if n.endswith(".conv1.weight")]
    for block in sorted(blocks):
        starts_stage = block.endswith(".0") and not block.startswith("layer1")
        y = x
        for number in range(1, num_convs + 1):
            stride = 2 if starts_stage and number == place else 1
            y = normalized(y, state, f"{block}.conv{number}", f"{block}.bn{number}", stride)
            y = y.relu() if number < num_convs else y
        if f"{block}.downsample.0.weight" in state:
            names = (f"{block}.downsample.0", f"{block}.downsample.1")
            x = normalized(x, state, *names, stride=2 if starts_stage else 1)
        elif starts_stage:  # option A: every second pixel, zeros for the new channels
            x = x[:, :, ::2, ::2]
            x = torch.cat([x, torch.zeros(len(x), y.shape[1] - x.shape[1], *x.shape[2:])], 1)
        x = (x + y).relu()
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize(("depth", "parameters"), PUBLISHED.items())
@pytest.mark.parametrize("variant", ["paper", "torchvision"])
def test_networks_of_table_1_are_as_large_as_published(depth, parameters, variant):
    assert size(on_meta(3, 1000, depth, variant=variant)) == parameters


@pytest.mark.parametrize(("depth", "millions"), CIFAR.items())
def test_cifar_networks_are_as_large_as_in_table_6(depth, millions):
    found = size(on_meta(3, 10, depth, "cifar")) / 1e6
    assert round(found, 1 if millions == 1.7 else 2) == millions


def test_stages_have_the_shapes_of_table_1():
    basic = shapes_of_stages(on_meta(3, 1000, 34), 3, 224, 224)
    assert basic == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]
    bottleneck = shapes_of_stages(on_meta(3, 1000, 152), 3, 224, 224)
    assert bottleneck == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]


def test_stages_for_small_pictures_keep_their_size_first():
    cifar = shapes_of_stages(on_meta(3, 10, 20, "cifar"), 3, 32, 32)
    assert cifar == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    small = shapes_of_stages(on_meta(1, 10, 18, "small"), 1, 28, 28)
    assert small == [(64, 28, 28), (128, 14, 14), (256, 7, 7), (512, 4, 4)]


@pytest.mark.parametrize("depth", [20, 56])
def test_depth_counts_the_layers_with_weights_along_the_longest_path(depth):
    network = on_meta(3, 10, depth, "cifar")
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


@pytest.mark.parametrize(
    ("depth", "design", "variant", "num_convs", "place"),
    [
        (18, "imagenet", "torchvision", 2, 1),
        (50, "imagenet", "torchvision", 3, 2),
        (50, "imagenet", "paper", 3, 1),
        (20, "cifar", "torchvision", 2, 1),
    ],
)
def test_forward_agrees_with_the_formulas(depth, design, variant, num_convs, place):
    network = awake(ResidualNetwork(3, 7, depth, design, variant, width=8))
    x = torch.randn(2, 3, 40, 40)
    expected = reference(x, network.state_dict(), num_convs, place, design == "imagenet")
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)


def test_plain_networks_have_no_way_around_their_layers():
    plain = ResidualNetwork(1, 4, 8, "cifar", shortcut="none", width=4).eval()
    residual = ResidualNetwork(1, 4, 8, "cifar", width=4).eval()
    assert size(plain) == size(residual)
    x = torch.randn(2, 1, 12, 12)
    for network in (plain, residual):
        for block in network.modules():
            if isinstance(block, ResidualBlock):
                nn.init.zeros_(block.get_parameter("bn2.weight"))
    assert torch.equal(plain(x)[0], plain(x)[1])  # nothing gets through: only the bias is left
    assert not torch.equal(residual(x)[0], residual(x)[1])


def test_names_are_those_that_torchvision_publishes():
    names = set(on_meta(3, 1000, 50).state_dict())
    block = {f"layer1.0.{n}" for n in ("conv1.weight", "bn3.running_var", "downsample.0.weight")}
    assert {"conv1.weight", "bn1.bias", "fc.weight", "fc.bias", *block} <= names
    assert len(names) == 320  # 53 convolutions, 5 tensors for each of their batch norms, fc
    assert len(set(on_meta(3, 1000, 18).state_dict())) == 122


def test_weights_lie_channels_last_so_that_a_cpu_is_fast():
    weight = ResidualNetwork(3, 10, 8, "cifar").get_parameter("layer1.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"depth": 19}, "one of 18, 34, 50, 101, 152 with design 'imagenet', but is 19"),
        ({"depth": 18, "design": "cifar"}, r"6n \+ 2 \(20, 32, 44, .*\) .*, but is 18"),
        ({"depth": 2, "design": "cifar"}, r"`depth` must be 6n \+ 2"),
        ({"design": "imagenett"}, "`design` must be one of imagenet, small, cifar"),
        ({"variant": "keras"}, "`variant` must be one of paper, torchvision"),
        ({"shortcut": "long"}, "`shortcut` must be one of"),
        ({"width": 0}, "`width` must be at least 1, but is 0"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\), but is 1.0"),
        ({"in_shape": [40]}, r"`in_shape` must be \[channels, height, width\]"),
        ({"pretrained_head": False}, "`pretrained_head` must be true without `pretrained`"),
    ],
)
def test_bad_arguments_are_told(arguments, told):
    with pytest.raises(ValueError, match=told):
        ResNet(**{"in_shape": [3, 32, 32], "num_classes": 10, **arguments})

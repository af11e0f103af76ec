from __future__ import annotations

import pytest
import torch
from paceline.lightning_modules.blocks.inception import Inception, Widths
from paceline.lightning_modules.blocks.layers import LayerStyle
from paceline.lightning_modules.googlenet import (
    EARLY,
    INCEPTION,
    LATE,
    MIDDLE,
    GoogLeNet,
    GoogLeNetNetwork,
)
from torch import Tensor, nn
from torch.nn import functional as F

IMAGENET = (3, 224, 224)
# Table 1: what leaves each part at 224 x 224.
OUTPUTS = {
    "conv1": (64, 112, 112),
    "maxpool1": (64, 56, 56),
    "conv3": (192, 56, 56),
    "maxpool2": (192, 28, 28),
    "inception3a": (256, 28, 28),
    "inception3b": (480, 28, 28),
    "maxpool3": (480, 14, 14),
    "inception4a": (512, 14, 14),
    "inception4b": (512, 14, 14),
    "inception4c": (512, 14, 14),
    "inception4d": (528, 14, 14),
    "inception4e": (832, 14, 14),
    "maxpool4": (832, 7, 7),
    "inception5a": (832, 7, 7),
    "inception5b": (1024, 7, 7),
}


def on_meta(variant: str, has_auxiliaries: bool = True) -> GoogLeNetNetwork:
    """A network whose shapes are known and whose weights take no memory."""
    with torch.device("meta"):
        return GoogLeNetNetwork(IMAGENET, 1000, variant, has_auxiliaries=has_auxiliaries)


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def layer(x: Tensor, module: nn.Module, batch_norm: bool) -> Tensor:
    """Convolution, batch norm with the running statistics, ReLU, by their formulas."""
    state = module.state_dict()
    weight = state["conv.weight"]
    stride = 2 if weight.shape[-1] == 7 else 1
    x = F.conv2d(x, weight, state.get("conv.bias"), stride, weight.shape[-1] // 2)
    if batch_norm:
        mean, var, scale, shift = (
            state[f"bn.{n}"][:, None, None]
            for n in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (var + 1e-3).sqrt() * scale + shift
    return x.clamp(min=0)


def inception(x: Tensor, module: nn.Module, bn: bool) -> Tensor:
    part = module.get_submodule
    return torch.cat(
        [
            layer(x, part("branch1"), bn),
            layer(layer(x, part("branch2.0"), bn), part("branch2.1"), bn),
            layer(layer(x, part("branch3.0"), bn), part("branch3.1"), bn),
            layer(F.max_pool2d(x, 3, 1, 1), part("branch4.1"), bn),
        ],
        dim=1,
    )


def response_norm(x: Tensor) -> Tensor:
    """x / (1 + 1e-4 / 5 sum over 5 channels of x^2)^0.75."""
    squares = F.pad(x.square(), (0, 0, 0, 0, 2, 2))
    total = torch.stack([squares[:, i : i + x.shape[1]] for i in range(5)]).sum(0)
    return x / (1 + 1e-4 / 5 * total) ** 0.75


def reference(x: Tensor, network: GoogLeNetNetwork, is_paper: bool) -> list[Tensor]:
    """Scores of all three heads for the stem of ImageNet, from the weights alone."""
    part, bn, taps = network.get_submodule, not is_paper, []
    x = F.max_pool2d(layer(x, part("conv1"), bn), 3, 2, ceil_mode=True)
    x = response_norm(x) if is_paper else x
    x = layer(layer(x, part("conv2"), bn), part("conv3"), bn)
    x = response_norm(x) if is_paper else x
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    for name in INCEPTION:
        x = inception(x, part(f"inception{name}"), bn)
        if name in ("4a", "4d"):
            taps.append(x)
        if name == "3b":
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        if name == "4e":
            x = F.max_pool2d(x, 3 if is_paper else 2, 2, ceil_mode=True)
    scores = [F.linear(x.mean((2, 3)), network.fc.weight, network.fc.bias)]
    for name, tap in zip(("aux1", "aux2"), taps, strict=True):
        pooled = F.avg_pool2d(tap, 5, 3) if is_paper else F.adaptive_avg_pool2d(tap, 4)
        state = part(name).state_dict()
        hidden = layer(pooled, part(f"{name}.conv"), bn).flatten(1)
        hidden = F.linear(hidden, state["fc1.weight"], state["fc1.bias"]).clamp(min=0)
        scores.append(F.linear(hidden, state["fc2.weight"], state["fc2.bias"]))
    return scores


def awake(network: nn.Module) -> nn.Module:
    """Give biases, and batch norm's statistics and scales, values as after training."""
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var") or ("bn" in name and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("bias", "running_mean")):
            tensor.normal_(std=0.1)
    return network.eval()


@pytest.mark.parametrize(
    ("variant", "alone", "whole"),
    [("paper", 6_998_552, 13_378_280), ("torchvision", 6_624_904, 13_004_888)],
)
def test_networks_are_as_large_as_published(variant, alone, whole):
    assert size(on_meta(variant, has_auxiliaries=False)) == alone
    assert size(on_meta(variant)) == whole


@pytest.mark.parametrize("variant", ["paper", "torchvision"])
def test_layers_have_the_shapes_of_table_1(variant):
    network, found = on_meta(variant), {}

    def keep(name: str, out: Tensor) -> None:
        found[name] = tuple(out.shape[1:])

    for name in OUTPUTS:
        layer = network.get_submodule(name)
        layer.register_forward_hook(lambda _, __, out, n=name: keep(n, out))
    assert network(torch.empty(1, *IMAGENET, device="meta")).shape == (1, 1000)
    assert found == OUTPUTS
    assert {n for n in (*EARLY, *MIDDLE, *LATE) if n.startswith("inc")} <= set(found)


@pytest.mark.parametrize("variant", ["paper", "torchvision"])
def test_forward_of_all_heads_agrees_with_the_formulas(variant):
    network = awake(GoogLeNetNetwork(IMAGENET, 7, variant, width=0.25))
    assert isinstance(network, GoogLeNetNetwork)
    x = torch.randn(2, *IMAGENET)
    with torch.no_grad():
        expected = reference(x, network, variant == "paper")
        torch.testing.assert_close(network(x), expected[0], rtol=1e-5, atol=1e-5)
        found = list(network.all_scores(x))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_inception_puts_its_parts_one_behind_the_other_along_the_depth():
    module = Inception(6, Widths(2, 3, 4, 3, 5, 6), 5, LayerStyle())
    assert module(torch.rand(2, 6, 9, 9)).shape == (2, 2 + 4 + 5 + 6, 9, 9)
    kernels = [m.kernel_size[0] for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [1, 1, 3, 1, 5, 1]


def test_auxiliary_losses_are_added_in_training_only():
    torch.manual_seed(0)
    model = GoogLeNet([1, 28, 28], 3, stem="small", width=0.1, auxiliary_weight=0.3).eval()
    x, labels = torch.randn(4, 1, 28, 28), torch.tensor([0, 1, 2, 0])
    main, first, second = model.network.all_scores(x)
    expected = F.cross_entropy(main, labels)
    expected = expected + 0.3 * (F.cross_entropy(first, labels) + F.cross_entropy(second, labels))
    torch.testing.assert_close(model.training_loss(x, labels), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(model(x), main)


def test_weight_0_leaves_the_auxiliaries_out():
    model = GoogLeNet([1, 28, 28], 3, stem="small", width=0.1, auxiliary_weight=0)
    assert not [n for n in model.state_dict() if "aux" in n]
    x, labels = torch.randn(4, 1, 28, 28), torch.tensor([0, 1, 2, 0])
    model.eval()
    loss = F.cross_entropy(model(x), labels)
    torch.testing.assert_close(model.training_loss(x, labels), loss, rtol=1e-6, atol=1e-6)


def test_small_stem_leaves_seven_pixels_for_the_first_inception():
    network, found = GoogLeNetNetwork((1, 28, 28), 10, stem="small", width=0.1), []
    network.get_submodule("inception3a").register_forward_hook(
        lambda _, __, out: found.append(out.shape[2:])
    )
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert found == [(7, 7)]


def test_names_are_those_that_torchvision_publishes():
    names = set(on_meta("torchvision").state_dict())
    expected = {
        "conv1.conv.weight",
        "conv1.bn.running_mean",
        "inception3a.branch1.conv.weight",
        "inception4e.branch2.1.bn.bias",
        "inception5b.branch4.1.conv.weight",
        "aux1.conv.bn.weight",
        "aux2.fc2.bias",
        "fc.weight",
    }
    assert expected <= names
    assert len(names) == 364  # 59 convolutions of 6 tensors and 5 linear layers of 2
    assert not [n for n in names if "norm" in n or "conv.bias" in n]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"auxiliary_weight": -0.1}, "`auxiliary_weight` must be 0 or above, but is -0.1"),
        ({"auxiliary_weight": float("nan")}, "`auxiliary_weight` must be 0 or above, but is nan"),
        ({"variant": "papers"}, "`variant` must be one of paper, torchvision, but is 'papers'"),
        ({"stem": "tiny"}, "`stem` must be one of imagenet, small"),
        ({"width": 0.0}, "`width` must be a positive number"),
        ({"variant": "paper", "in_shape": [1, 32, 32]}, r"`in_shape` .* is \[1, 32, 32\]: \w+"),
        ({"in_shape": [1, 2, 2]}, "large enough for every layer"),
    ],
)
def test_bad_arguments_are_told(arguments, told):
    with pytest.raises(ValueError, match=told):
        GoogLeNet(**{"in_shape": [3, 224, 224], "num_classes": 10, "width": 0.1, **arguments})


def test_pictures_that_an_auxiliary_alone_cannot_pool_are_told():
    with pytest.raises(ValueError, match=r"AvgPool2d number 1 .* 4 x 4 values"):
        GoogLeNet([3, 64, 64], 10, variant="paper", width=0.1)
    GoogLeNet([3, 64, 64], 10, variant="paper", width=0.1, auxiliary_weight=0)

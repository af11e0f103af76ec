from __future__ import annotations

import pytest
import torch
from paceline.lightning_modules.blocks.activations import ACTIVATIONS
from paceline.lightning_modules.blocks.layers import LayerStyle
from paceline.lightning_modules.shapes import feature_shape
from paceline.lightning_modules.vgg import VGG, VGGNetwork, convolutions
from torch import nn

# Torchvision's list of published models: depth -> parameters without and with batch norm.
PARAMETERS = {
    11: (132_863_336, 132_868_840),
    13: (133_047_848, 133_053_736),
    16: (138_357_544, 138_365_992),
    19: (143_667_240, 143_678_248),
}
# Table 1, configuration D, as the columns read from top to bottom.
CONFIGURATION_D = [
    *([64, 64, "pool"], [128, 128, "pool"], [256, 256, 256, "pool"]),
    *([512, 512, 512, "pool"], [512, 512, 512, "pool"]),
]


def on_meta(depth: int, **arguments) -> VGGNetwork:
    """The whole network without any memory."""
    with torch.device("meta"):
        return VGGNetwork([3, 224, 224], 1000, depth, **arguments)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("depth", PARAMETERS)
def test_networks_have_the_published_number_of_parameters(depth, batch_norm):
    network = on_meta(depth, batch_norm=batch_norm)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[depth][batch_norm]
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


def test_sixteen_layers_are_those_of_configuration_d():
    features, width, size = on_meta(16).features, 3, 224
    end = 0
    for row in [row for stage in CONFIGURATION_D for row in stage]:
        if row == "pool":
            size, end = size // 2, end + 1
        else:
            assert features[end].kernel_size == (3, 3)
            width, end = row, end + 2  # with its ReLU
        assert feature_shape(features[:end], [3, 224, 224]) == (width, size, size)
    assert end == len(features)
    assert (width, size) == (512, 7)


def test_three_3x3_layers_see_as_much_as_one_7x7_layer_with_fewer_weights():
    stack = nn.Sequential(*convolutions(64, 64, 3, False, LayerStyle("linear"))).double()
    x = torch.zeros(1, 64, 15, 15, dtype=torch.float64, requires_grad=True)
    stack(x)[0, :, 7, 7].sum().backward()  # the unit in the middle
    assert x.grad is not None
    seen = x.grad[0].abs().sum(0) > 0
    expected = torch.zeros(15, 15, dtype=torch.bool)
    expected[4:11, 4:11] = True
    assert torch.equal(seen, expected)

    weights = sum(m.weight.numel() for m in stack if isinstance(m, nn.Conv2d))
    assert weights == 27 * 64**2 == 110_592
    assert nn.Conv2d(64, 64, 7).weight.numel() == 49 * 64**2 == 200_704


def torchvision_vgg11(batch_norm: bool) -> nn.ModuleDict:
    """The published network of 11 layers, from torch's layers, a few channels wide."""
    layers, width = [], 3
    for stage in [(4,), (6,), (8, 8), (8, 8), (8, 8)]:
        for out in stage:
            norm = [nn.BatchNorm2d(out)] if batch_norm else []
            layers += [nn.Conv2d(width, out, 3, padding=1), *norm, nn.ReLU()]
            width = out
        layers.append(nn.MaxPool2d(2, 2))
    classifier = nn.Sequential(
        *(nn.Linear(8 * 49, 12), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(12, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 7)),
    )
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.get_buffer("running_mean"))
            nn.init.uniform_(layer.weight, 0.5, 2)
    return nn.ModuleDict({"features": nn.Sequential(*layers), "classifier": classifier})


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("size", [224, 64])
def test_published_names_are_taken_and_give_the_same_scores(size, batch_norm, tmp_path):
    torch.manual_seed(0)
    theirs = torchvision_vgg11(batch_norm).eval()
    torch.save(theirs.state_dict(), tmp_path / "vgg11.pth")
    ours = VGG(
        [3, size, size],
        7,
        depth=11,
        channels=[4, 6, 8, 8, 8],
        hidden_sizes=[12, 12],
        batch_norm=batch_norm,
        pretrained=str(tmp_path / "vgg11.pth"),
    ).eval()
    assert list(ours.network.state_dict()) == list(theirs.state_dict())
    x = torch.randn(2, 3, size, size)
    features = nn.functional.adaptive_avg_pool2d(theirs["features"](x), 7)
    expected = theirs["classifier"](features.flatten(1))
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-5)


def test_usual_network_for_cifar_has_one_hidden_layer_of_512():
    with torch.device("meta"):
        network = VGGNetwork([3, 32, 32], 10, hidden_sizes=[512], pooled_size=1, batch_norm=True)
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(512, 512), (512, 10)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_fewer_stages_take_smaller_pictures(batch_norm, activation):
    model = VGG(
        [1, 28, 28],
        5,
        channels=[2, 3, 4, 4],
        hidden_sizes=[6],
        pooled_size=1,
        batch_norm=batch_norm,
        activation=activation,
    )
    assert model(model.example_input_array).shape == (2, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 12}, "`depth` must be one of 11, 13, 16, 19, but is 12."),
        (
            {"in_shape": [1, 28, 28]},
            "`in_shape` must be large enough for every layer, but is [1, 28, 28]: "
            "MaxPool2d number 5 (30) gets 1 x 1 values",
        ),
        ({"in_shape": [32, 32]}, "`in_shape` must be [channels, height, width], each at least 1"),
        ({"num_classes": 1}, "`num_classes` must be a whole number of at least 2, but is 1."),
        ({"channels": []}, "`channels` must be one to five whole numbers of at least 1, but is []"),
        ({"channels": [8] * 6}, "`channels` must be one to five whole numbers of at least 1, "),
        ({"hidden_sizes": [0]}, "`hidden_sizes` must be whole numbers of at least 1, but is [0]."),
        ({"pooled_size": 0}, "`pooled_size` must be at least 1, but is 0."),
        ({"dropout": 1.5}, "`dropout` must be in [0, 1), but is 1.5."),
        ({"hidden_sizes": []}, "`dropout` must be 0 without hidden layers, but is 0.5."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    small = {"channels": [2] * 5, "hidden_sizes": [4], "pooled_size": 1}
    with pytest.raises(ValueError, match="must be") as caught:
        VGG(**{"in_shape": [3, 32, 32], "num_classes": 10, **small, **arguments})
    assert str(caught.value).startswith(message)

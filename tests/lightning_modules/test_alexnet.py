from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.alexnet import DESIGNS, AlexNet, EightLayerNetwork, ResponseNorm
from paceline.lightning_modules.blocks.activations import ACTIVATIONS
from paceline.lightning_modules.shapes import feature_shape
from torch import nn

# The slide "Case Study: AlexNet": what each layer makes of 227 x 227 pixels. ReLUs keep the shape.
SLIDE = [
    ("Conv2d", (96, 55, 55)),
    ("MaxPool2d", (96, 27, 27)),
    ("ResponseNorm", (96, 27, 27)),
    ("Conv2d", (256, 27, 27)),
    ("MaxPool2d", (256, 13, 13)),
    ("ResponseNorm", (256, 13, 13)),
    ("Conv2d", (384, 13, 13)),
    ("Conv2d", (384, 13, 13)),
    ("Conv2d", (256, 13, 13)),
    ("MaxPool2d", (256, 6, 6)),
]


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def on_meta(variant: str, size: int, **arguments) -> EightLayerNetwork:
    """The whole network without any memory."""
    with torch.device("meta"):
        return EightLayerNetwork([3, size, size], 1000, DESIGNS[variant], **arguments)


def shapes(network: EightLayerNetwork, in_shape: list[int]) -> list[tuple[str, tuple[int, ...]]]:
    """Kind and shape of each layer's result, without the non-linearities."""
    found = []
    for end, layer in enumerate(network.features, start=1):
        if not isinstance(layer, nn.ReLU):
            found.append((type(layer).__name__, feature_shape(network.features[:end], in_shape)))
    return found


def test_layers_are_those_of_the_slide():
    network = on_meta("paper", 227)
    assert shapes(network, [3, 227, 227]) == SLIDE
    sizes = [
        (m.in_features, m.out_features) for m in network.classifier if hasattr(m, "in_features")
    ]
    assert sizes == [(9216, 4096), (4096, 4096), (4096, 1000)]


@pytest.mark.parametrize(
    ("variant", "size", "groups", "parameters"),
    [
        ("paper", 227, 1, 62_378_344),
        ("paper", 227, 2, 60_965_224),
        ("torchvision", 224, 1, 61_100_840),
    ],
)
def test_networks_have_the_published_number_of_parameters(variant, size, groups, parameters):
    assert count(on_meta(variant, size, groups=groups)) == parameters


def torchvision_alexnet(num_classes: int) -> nn.ModuleDict:
    """The published network, from torch's layers, a few channels wide."""
    features = nn.Sequential(
        *(nn.Conv2d(3, 4, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(4, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 6, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )
    classifier = nn.Sequential(
        *(nn.Dropout(), nn.Linear(216, 12), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, num_classes)),
    )
    return nn.ModuleDict({"features": features, "classifier": classifier})


@pytest.mark.parametrize("size", [224, 160])
def test_torchvision_variant_takes_published_names_and_gives_the_same_scores(size, tmp_path):
    torch.manual_seed(0)
    theirs = torchvision_alexnet(num_classes=7)
    torch.save(theirs.state_dict(), tmp_path / "alexnet.pth")
    ours = AlexNet(
        [3, size, size],
        7,
        variant="torchvision",
        channels=[4, 6, 8, 6, 6],
        hidden_sizes=[12, 12],
        pretrained=str(tmp_path / "alexnet.pth"),
    ).eval()
    names = [f"features.{n}" for n in (0, 3, 6, 8, 10)] + [f"classifier.{n}" for n in (1, 4, 6)]
    assert list(ours.network.state_dict()) == [
        f"{n}.{p}" for n in names for p in ("weight", "bias")
    ]
    x = torch.randn(2, 3, size, size)
    features = nn.functional.adaptive_avg_pool2d(theirs["features"](x), 6)
    expected = theirs.eval()["classifier"](features.flatten(1))
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-5)


def test_published_weights_for_other_classes_load_without_the_last_layer(tmp_path):
    theirs = torchvision_alexnet(num_classes=9)
    torch.save(theirs.state_dict(), tmp_path / "alexnet.pth")
    arguments = {
        "in_shape": [3, 96, 96],
        "num_classes": 4,
        "variant": "torchvision",
        "channels": [4, 6, 8, 6, 6],
        "hidden_sizes": [12, 12],
        "pretrained": str(tmp_path / "alexnet.pth"),
    }
    ours = AlexNet(**arguments, pretrained_head=False).network
    name = "classifier.4.weight"
    assert torch.equal(ours.get_parameter(name), theirs.get_parameter(name))
    with pytest.raises(ValueError, match="`pretrained` must be a file of this network's weights"):
        AlexNet(**arguments)


@pytest.mark.parametrize("groups", [1, 2])
def test_paper_variant_agrees_with_one_of_torch_layers(groups):
    torch.manual_seed(0)
    design = DESIGNS["paper"]
    ours = EightLayerNetwork([3, 67, 67], 5, design, [4, 6, 8, 8, 6], [12, 12], groups).eval()
    # torch divides its alpha by the window of 5.
    theirs = nn.Sequential(
        *(nn.Conv2d(3, 4, 11, 4), nn.ReLU(), nn.MaxPool2d(3, 2)),
        nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
        *(nn.Conv2d(4, 6, 5, padding=2, groups=groups), nn.ReLU(), nn.MaxPool2d(3, 2)),
        nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
        *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1, groups=groups), nn.ReLU()),
        *(nn.Conv2d(8, 6, 3, padding=1, groups=groups), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Flatten(), nn.Linear(6, 12), nn.ReLU()),
        *(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 5)),
    )
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        other.data.copy_(mine)
    x = torch.randn(2, 3, 67, 67)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_response_norm_divides_by_the_neighbouring_channels():
    a = np.random.default_rng(0).normal(size=(2, 9, 3, 4)) * 100
    b = np.empty_like(a)
    for i in range(9):  # section 3.3
        near = a[:, max(0, i - 2) : min(8, i + 2) + 1]
        b[:, i] = a[:, i] / (2 + 1e-4 * (near**2).sum(1)) ** 0.75
    found = ResponseNorm(9).double()(torch.from_numpy(a)).numpy()
    np.testing.assert_allclose(found, b, rtol=1e-6)  # the constants are rounded to float32


def test_dropout_stands_where_the_variant_has_it():
    def kinds(variant: str) -> list[str]:
        return [type(m).__name__ for m in on_meta(variant, 227).classifier]

    assert kinds("paper") == ["Linear", "ReLU", "Dropout"] * 2 + ["Linear"]
    assert kinds("torchvision") == ["Dropout", "Linear", "ReLU"] * 2 + ["Linear"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("in_shape", [[1, 28, 28], [3, 32, 32]])
def test_small_variant_takes_small_pictures(in_shape, activation):
    model = AlexNet(in_shape, 5, variant="small", groups=2, activation=activation)
    assert model(model.example_input_array).shape == (2, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "tv"}, "`variant` must be one of paper, torchvision, small, but is 'tv'."),
        ({"in_shape": None}, "`in_shape` must be [channels, height, width], each at least 1"),
        ({"num_classes": None}, "`num_classes` must be a whole number of at least 2, "),
        (
            {"in_shape": [1, 28, 28], "variant": "paper"},
            "`in_shape` must be large enough for every layer, but is [1, 28, 28]: "
            "MaxPool2d number 2 (6) gets 2 x 2 values",
        ),
        ({"channels": [8, 8]}, "`channels` must be 5 whole numbers of at least 1, but is [8, 8]."),
        ({"hidden_sizes": [0]}, "`hidden_sizes` must be whole numbers of at least 1, but is [0]."),
        ({"groups": 3}, "`groups` must be 1 or 2, but is 3."),
        (
            {"groups": 2, "variant": "torchvision"},
            "`groups` must be 1 with the torchvision variant, but is 2.",
        ),
        (
            {"groups": 2, "channels": [4, 6, 8, 8, 5]},
            "`channels` must be even with two `groups`, but is [4, 6, 8, 8, 5].",
        ),
        ({"dropout": 1.0}, "`dropout` must be in [0, 1), but is 1.0."),
        ({"hidden_sizes": []}, "`dropout` must be 0 without hidden layers, but is 0.5."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        AlexNet(**{"in_shape": [1, 28, 28], "num_classes": 10, "variant": "small", **arguments})
    assert str(caught.value).startswith(message)

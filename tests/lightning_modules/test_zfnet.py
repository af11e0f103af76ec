from __future__ import annotations

import pytest
import torch
from paceline.lightning_modules.alexnet import EightLayerNetwork
from paceline.lightning_modules.blocks.activations import ACTIVATIONS
from paceline.lightning_modules.shapes import feature_shape
from paceline.lightning_modules.zfnet import DESIGNS, ZFNet
from torch import nn

# Figure 3: what each layer makes of 224 x 224 pixels. ReLUs keep the shape.
FIGURE_3 = [
    ("Conv2d", (96, 110, 110)),
    ("MaxPool2d", (96, 55, 55)),
    ("ResponseNorm", (96, 55, 55)),
    ("Conv2d", (256, 26, 26)),
    ("MaxPool2d", (256, 13, 13)),
    ("ResponseNorm", (256, 13, 13)),
    ("Conv2d", (384, 13, 13)),
    ("Conv2d", (384, 13, 13)),
    ("Conv2d", (256, 13, 13)),
    ("MaxPool2d", (256, 6, 6)),
]


def test_layers_are_those_of_figure_3():
    with torch.device("meta"):
        network = EightLayerNetwork([3, 224, 224], 1000, DESIGNS["paper"])
    features = network.features
    found = [
        (type(layer).__name__, feature_shape(features[:end], [3, 224, 224]))
        for end, layer in enumerate(features, start=1)
        if not isinstance(layer, nn.ReLU)
    ]
    assert found == FIGURE_3
    # By hand: 14,208 + 614,656 + 885,120 + 1,327,488 + 884,992 convolutional, 58,631,144 behind.
    assert sum(p.numel() for p in network.parameters()) == 62_357_608


def test_paper_variant_agrees_with_one_of_torch_layers():
    torch.manual_seed(0)
    ours = ZFNet([3, 67, 67], 5, channels=[4, 6, 8, 8, 6], hidden_sizes=[12, 12]).eval()

    def norm() -> nn.Module:  # torch divides its alpha by the window of 5
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

    theirs = nn.Sequential(
        *(nn.Conv2d(3, 4, 7, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), norm()),
        *(nn.Conv2d(4, 6, 5, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), norm()),
        *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(nn.Flatten(), nn.Linear(6, 12), nn.ReLU()),
        *(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 5)),
    )
    for mine, other in zip(ours.network.parameters(), theirs.parameters(), strict=True):
        other.data.copy_(mine)
    x = torch.randn(2, 3, 67, 67)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("in_shape", [[1, 28, 28], [3, 32, 32]])
def test_small_variant_takes_small_pictures(in_shape, activation):
    model = ZFNet(in_shape, 5, variant="small", activation=activation)
    assert model(model.example_input_array).shape == (2, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "big"}, "`variant` must be one of paper, small, but is 'big'."),
        ({"in_shape": [28, 28]}, "`in_shape` must be [channels, height, width], each at least 1"),
        (
            {"in_shape": [1, 28, 28], "variant": "paper"},
            "`in_shape` must be large enough for every layer, but is [1, 28, 28]: "
            "MaxPool2d number 2 (6) gets 1 x 1 values",
        ),
        ({"channels": [8, 8]}, "`channels` must be 5 whole numbers of at least 1, but is [8, 8]."),
        ({"dropout": -0.1}, "`dropout` must be in [0, 1), but is -0.1."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        ZFNet(**{"in_shape": [1, 28, 28], "num_classes": 10, "variant": "small", **arguments})
    assert str(caught.value).startswith(message)

"""LeNet-5: the convolutional network that reads digits.

LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition",
section II.B and figure 2; deck, slides "Generalizing Convolutions" and "Typical structure for image
classification". Two convolutions of 5x5, each followed by a subsampling, then layers of 120 and 84.
`modern` has what came later: max pooling, ReLU, every map connected to every map. `1998` has what
the paper had, see `lenet_1998.py`. B batch, C channels, H x W picture, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .blocks.activations import Activation
from .blocks.checks import require, require_one_of
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .classifier import Classifier
from .lenet_1998 import LeNet1998Network, Output
from .shapes import feature_shape, require_num_classes, resolve_picture

Variant = Literal["modern", "1998"]


class LeNetNetwork(nn.Module):
    """Two stages of convolution, non-linearity and max pooling, then fully connected layers.

    Args:
        in_shape: (C, H, W).
        num_classes: K.
        padding: Pixels added at each edge, equal to the edge.
        channels: Channels of the two stages.
        hidden_sizes: Units of the fully connected layers before the scores.
        dropout: Share of units silenced before each fully connected layer, in [0, 1).
        style: What all layers have in common.

    Raises:
        ValueError: If an argument is outside its range, or the pictures are too small.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        padding: int = 0,
        channels: Sequence[int] = (6, 16),
        hidden_sizes: Sequence[int] = (120, 84),
        dropout: float = 0.0,
        style: LayerStyle | None = None,
    ):
        super().__init__()
        check_architecture(list(channels), list(hidden_sizes), dropout)
        style = style or LayerStyle()
        layers: list[nn.Module] = [nn.ReplicationPad2d(padding)]
        width = in_shape[0]
        for stage in channels:
            layers += [*style.convolution(width, stage, 5, padding=0), nn.MaxPool2d(2)]
            width = stage
        self.features = nn.Sequential(*layers, nn.Flatten())
        (width,) = feature_shape(self.features, in_shape)
        drop = [nn.Dropout(dropout)] if dropout else []
        head: list[nn.Module] = []
        for size in hidden_sizes:
            head += [*drop, *style.linear(width, size)]
            width = size
        self.classifier = nn.Sequential(*head, *drop, style.scores(width, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, H, W) to scores (B, K)."""
        return self.classifier(self.features(x))


def check_architecture(channels: list[int], hidden_sizes: list[int], dropout: float) -> None:
    """Raise ValueError unless every layer has a unit and dropout is in range."""
    known = len(channels) == 2 and min(channels) >= 1
    require(known, "channels", "two whole numbers of at least 1", channels)
    rule = "whole numbers of at least 1"
    require(all(size >= 1 for size in hidden_sizes), "hidden_sizes", rule, hidden_sizes)
    require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)


class LeNet(Classifier):
    """LeNet-5 under the rule of `Classifier`.

    The variant `1998` is fixed: what only `modern` has must be left open there, and the other way
    round.

    Args:
        in_shape: (C, H, W); default: that of the data. The paper's is [1, 32, 32].
        num_classes: K; default: that of the data.
        variant: `modern`, or `1998` as in the paper.
        padding: Pixels added at each edge, equal to the edge; default: 2 for pictures of 28 x 28,
            which makes them the paper's 32 x 32, else 0.
        output: Of `1998`: `rbf` (the default) measures distances to fixed codes, `linear` scores.
        channels: Of `modern`: channels of the two stages; default: 6 and 16.
        hidden_sizes: Of `modern`: units of the fully connected layers; default: 120 and 84.
        dropout: Of `modern`: share of units silenced before each fully connected layer, in [0, 1).
        activation: Of `modern`: name of the non-linearity; default: `relu`.
        maxout_pieces: Of `modern`: affine maps per maxout unit.
        weight_init: Of `modern`: how weights start; default: `kaiming`.
        weight_init_std: Standard deviation of `normal`.
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range, set where it has no effect, or the pictures
            are too small.
    """

    def __init__(
        self,
        in_shape: list[int] | None = None,
        num_classes: int | None = None,
        variant: Variant = "modern",
        padding: int | None = None,
        output: Output | None = None,
        channels: list[int] | None = None,
        hidden_sizes: list[int] | None = None,
        dropout: float = 0.0,
        activation: Activation | None = None,
        maxout_pieces: int = 2,
        weight_init: WeightInit | None = None,
        weight_init_std: float = 0.01,
        **objective: Any,
    ):
        require_one_of("variant", variant, ("modern", "1998"))
        shape, classes = resolve_picture(in_shape), require_num_classes(num_classes)
        if padding is None:
            padding = 2 if shape[1:] == (28, 28) else 0
        require(padding >= 0, "padding", "0 or above", padding)
        if variant == "1998":
            style = {"activation": activation, "weight_init": weight_init}
            _require_open(channels=channels, hidden_sizes=hidden_sizes, dropout=dropout, **style)
            require_one_of("output", output or "rbf", ("rbf", "linear"))
            network = LeNet1998Network(shape, classes, padding, output or "rbf")
        else:
            require(output is None, "output", "left open with variant 'modern'", output)
            network = LeNetNetwork(
                shape,
                classes,
                padding,
                channels or [6, 16],
                [120, 84] if hidden_sizes is None else hidden_sizes,
                dropout,
                LayerStyle(
                    activation or "relu",
                    maxout_pieces,
                    weight_init=weight_init or "kaiming",
                    weight_init_std=weight_init_std,
                ),
            )
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters()


def _require_open(**arguments: object) -> None:
    for name, value in arguments.items():
        require(not value, name, "left open with variant '1998'", value)

"""VGG: many layers of the smallest kernel that has a left, a right and a centre.

Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image recognition",
section 2 and table 1; deck, slide "Case Study: VGGNet". Three 3x3 layers see as much as one 7x7
layer, with more non-linearities and 27 C^2 weights instead of 49 C^2. Names and shapes are those of
torchvision, so that its published weights load into `network`; with batch norm the convolutions
keep the bias that it makes idle, as they are published. Weights start by He's rule: the paper
trained the shallow configuration first and grew the deeper ones from it.
B batch, C channels, H x W picture, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .blocks.activations import Activation
from .blocks.checks import require
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .classifier import Classifier
from .pretrained import load_pretrained
from .shapes import feature_shape, require_num_classes, resolve_picture

Depth = Literal[11, 13, 16, 19]

# Table 1: 3x3 convolutions of each stage, by the number of layers with weights. Not here:
# A-LRN (A with response normalisation, which did not help) and C (D with three 1x1 kernels).
CONFIGURATIONS = {
    11: (1, 1, 2, 2, 2),  # A
    13: (2, 2, 2, 2, 2),  # B
    16: (2, 2, 3, 3, 3),  # D
    19: (2, 2, 4, 4, 4),  # E
}
CHANNELS = (64, 128, 256, 512, 512)
HIDDEN_SIZES = (4096, 4096)


def convolutions(
    in_channels: int, channels: int, count: int, batch_norm: bool, style: LayerStyle
) -> list[nn.Module]:
    """The `count` convolutions of a stage, (B, in_channels, H, W) to (B, channels, H, W)."""
    layers: list[nn.Module] = []
    for width in [in_channels] + [channels] * (count - 1):
        layer, nonlinearity = style.convolution(width, channels, 3)
        norm = [nn.BatchNorm2d(channels * style.pieces)] if batch_norm else []
        layers += [layer, *norm, nonlinearity]
    return layers


class VGGNetwork(nn.Module):
    """Stages of 3x3 convolutions, each ended by a 2x2 pooling, then fully connected layers.

    Args:
        in_shape: (C, H, W).
        num_classes: K.
        depth: Layers with weights in the paper's network: 11, 13, 16 or 19.
        channels: Channels of each stage; a list of less than five leaves out the last stages.
        hidden_sizes: Units of the fully connected layers before the scores.
        pooled_size: Side of the map that the last stage's is averaged to.
        dropout: Share of units silenced after each hidden fully connected layer, in [0, 1).
        batch_norm: Normalise after each convolution.
        style: What all layers have in common, without batch norm.

    Raises:
        ValueError: If an argument is outside its range, or the pictures are too small.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        depth: int = 16,
        channels: Sequence[int] = CHANNELS,
        hidden_sizes: Sequence[int] = HIDDEN_SIZES,
        pooled_size: int = 7,
        dropout: float = 0.5,
        batch_norm: bool = False,
        style: LayerStyle | None = None,
    ):
        super().__init__()
        check_architecture(depth, list(channels), list(hidden_sizes), pooled_size, dropout)
        style = style or LayerStyle()
        layers: list[nn.Module] = []
        width = in_shape[0]
        for stage, count in zip(channels, CONFIGURATIONS[depth], strict=False):
            layers += [*convolutions(width, stage, count, batch_norm, style), nn.MaxPool2d(2)]
            width = stage
        self.features = nn.Sequential(*layers)
        feature_shape(self.features, in_shape)
        self.avgpool = nn.AdaptiveAvgPool2d(pooled_size)
        width *= pooled_size**2
        head: list[nn.Module] = []
        for size in hidden_sizes:
            head += [*style.linear(width, size), nn.Dropout(dropout)]
            width = size
        self.classifier = nn.Sequential(*head, style.scores(width, num_classes))
        self.heads = (f"classifier.{len(self.classifier) - 1}",)  # they depend on the classes
        # Faster where the channels of a pixel lie side by side; activations follow the weights.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, H, W) to scores (B, K)."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def check_architecture(
    depth: int, channels: list[int], hidden_sizes: list[int], pooled_size: int, dropout: float
) -> None:
    """Raise ValueError unless the depth is the paper's and the numbers are in range."""
    valid = ", ".join(map(str, CONFIGURATIONS))
    require(depth in CONFIGURATIONS, "depth", f"one of {valid}", depth)
    known = 1 <= len(channels) <= len(CHANNELS) and min(channels) >= 1
    require(known, "channels", "one to five whole numbers of at least 1", channels)
    rule = "whole numbers of at least 1"
    require(all(size >= 1 for size in hidden_sizes), "hidden_sizes", rule, hidden_sizes)
    require(pooled_size >= 1, "pooled_size", "at least 1", pooled_size)
    require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
    require(bool(hidden_sizes) or not dropout, "dropout", "0 without hidden layers", dropout)


class VGG(Classifier):
    """A VGG network under the rule of `Classifier`.

    Args:
        in_shape: (C, H, W); default: that of the data. The paper's is [3, 224, 224].
        num_classes: K; default: that of the data.
        depth: Layers with weights in the paper's network: 11, 13, 16 or 19.
        channels: Channels of each stage; default: 64, 128, 256, 512, 512. A shorter list leaves
            out the last stages, for pictures of less than 32 pixels.
        hidden_sizes: Units of the fully connected layers; default: 4096 and 4096. One layer of 512
            is usual for small pictures.
        pooled_size: Side of the map that the last stage's is averaged to; 1 for small pictures.
        dropout: Share of units silenced after each hidden fully connected layer, in [0, 1).
        batch_norm: Normalise after each convolution (Ioffe and Szegedy 2015, section 3.2).
        activation: Name of the non-linearity.
        maxout_pieces: Affine maps per maxout unit.
        weight_init: How weights start; `kaiming` suits the rectifiers.
        weight_init_std: Standard deviation of `normal`.
        pretrained: File of weights to start from, see `pretrained.py`.
        pretrained_head: Whether the last layer is taken from it too.
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range, the pictures are too small, or `pretrained`
            is of another network.
    """

    def __init__(
        self,
        in_shape: list[int] | None = None,
        num_classes: int | None = None,
        depth: Depth = 16,
        channels: list[int] | None = None,
        hidden_sizes: list[int] | None = None,
        pooled_size: int = 7,
        dropout: float = 0.5,
        batch_norm: bool = False,
        activation: Activation = "relu",
        maxout_pieces: int = 2,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        pretrained: str | None = None,
        pretrained_head: bool = True,
        **objective: Any,
    ):
        shape, classes = resolve_picture(in_shape), require_num_classes(num_classes)
        network = VGGNetwork(
            shape,
            classes,
            depth,
            CHANNELS if channels is None else channels,
            HIDDEN_SIZES if hidden_sizes is None else hidden_sizes,
            pooled_size,
            dropout,
            batch_norm,
            LayerStyle(activation, maxout_pieces, False, weight_init, weight_init_std),
        )
        load_pretrained(network, pretrained, pretrained_head)
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters(ignore=["pretrained", "pretrained_head"])

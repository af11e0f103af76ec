"""AlexNet: five convolutional layers and three fully connected ones.

Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural
networks"; deck, slide "Case Study: AlexNet". New in it: ReLUs at this size, local response
normalisation, pooling windows that overlap (3x3 at stride 2), dropout in the fully connected
layers. The `paper` design is the deck's drawing, which pools before it normalises; section 3.5 of
the paper normalises first. Biases start at zero; section 5 starts some of them at one.
B batch, C channels, H x W picture, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks.activations import Activation
from .blocks.checks import require, require_one_of
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .classifier import Classifier
from .pretrained import load_pretrained
from .shapes import feature_shape, require_num_classes, resolve_picture

Variant = Literal["paper", "torchvision", "small"]


class Layer(NamedTuple):
    """One convolutional layer of a design, and what follows its non-linearity."""

    channels: int
    kernel_size: int
    stride: int
    padding: int
    is_split: bool  # between the two towers, where `groups` is 2
    then: tuple[str, ...] = ()  # `pool`: the largest of 3x3 at stride 2; `norm`: ResponseNorm


class Design(NamedTuple):
    """A network of eight layers."""

    layers: tuple[Layer, ...]
    hidden_sizes: tuple[int, ...]
    drops_inputs: bool = False  # dropout before the fully connected layers instead of after them
    pooled_size: int | None = None  # every picture is averaged to this size before them
    ceil_mode: bool = False  # pooling windows may reach over the edge


DESIGNS = {
    # Figure 2 and section 3.5, as the slide draws them: 227 -> 55 -> 27 -> 13 -> 6.
    "paper": Design(
        (
            Layer(96, 11, 4, 0, False, ("pool", "norm")),
            Layer(256, 5, 1, 2, True, ("pool", "norm")),
            Layer(384, 3, 1, 1, False),
            Layer(384, 3, 1, 1, True),
            Layer(256, 3, 1, 1, True, ("pool",)),
        ),
        (4096, 4096),
    ),
    # One tower, narrower, without normalisation, after Krizhevsky 2014, "One weird trick for
    # parallelizing convolutional neural networks". Names and shapes are those of torchvision.
    "torchvision": Design(
        (
            Layer(64, 11, 4, 2, False, ("pool",)),
            Layer(192, 5, 1, 2, False, ("pool",)),
            Layer(384, 3, 1, 1, False),
            Layer(256, 3, 1, 1, False),
            Layer(256, 3, 1, 1, False, ("pool",)),
        ),
        (4096, 4096),
        drops_inputs=True,
        pooled_size=6,
    ),
    # Ours, for pictures of 28 or 32 pixels: a quarter of the channels, and a first layer that
    # keeps the size: 28 -> 28 -> 13 -> 6 -> 2.
    "small": Design(
        (
            Layer(24, 5, 1, 2, False, ("pool", "norm")),
            Layer(64, 5, 1, 2, True, ("pool", "norm")),
            Layer(96, 3, 1, 1, False),
            Layer(96, 3, 1, 1, True),
            Layer(64, 3, 1, 1, True, ("pool",)),
        ),
        (512, 512),
    ),
}


class ResponseNorm(nn.Module):
    """Local response normalisation across neighbouring channels (section 3.3).

    b_i = a_i / (k + alpha sum_j a_j^2)^beta, j from i - n/2 to i + n/2, with the section's numbers
    k = 2, n = 5, alpha = 1e-4, beta = 0.75. `nn.LocalResponseNorm` divides its alpha by n, and is
    several times slower on a CPU than the sum as a 1x1 convolution.

    Args:
        channels: C.
    """

    K, N, ALPHA, BETA = 2.0, 5, 1e-4, 0.75

    def __init__(self, channels: int):
        super().__init__()
        number = torch.arange(channels)
        near = (number[:, None] - number).abs() <= self.N // 2  # (C, C)
        self.register_buffer("weight", self.ALPHA * near[:, :, None, None].float(), False)
        self.register_buffer("bias", torch.full((channels,), self.K), False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        scale = F.conv2d(x.square(), self.get_buffer("weight"), self.get_buffer("bias"))
        return x * scale.pow(-self.BETA)


class EightLayerNetwork(nn.Module):
    """Five convolutional and, with two hidden sizes, three fully connected layers.

    Args:
        in_shape: (C, H, W).
        num_classes: K.
        design: The layers.
        channels: Channels of each convolutional layer; default: the design's.
        hidden_sizes: Units of the fully connected layers; default: the design's.
        groups: 2 parts layers 2, 4 and 5 into towers that do not see each other.
        dropout: Share of units silenced at each hidden fully connected layer, in [0, 1).
        style: What all layers have in common.

    Raises:
        ValueError: If an argument is outside its range, or the pictures are too small.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        design: Design,
        channels: Sequence[int] | None = None,
        hidden_sizes: Sequence[int] | None = None,
        groups: int = 1,
        dropout: float = 0.5,
        style: LayerStyle | None = None,
    ):
        super().__init__()
        widths = [layer.channels for layer in design.layers] if channels is None else list(channels)
        hidden = list(design.hidden_sizes if hidden_sizes is None else hidden_sizes)
        check_architecture(widths, len(design.layers), hidden, groups, dropout)
        style = style or LayerStyle()
        layers: list[nn.Module] = []
        width = in_shape[0]
        for layer, out in zip(design.layers, widths, strict=True):
            sizes = {"stride": layer.stride, "padding": layer.padding}
            parts = groups if layer.is_split else 1
            layers += style.convolution(width, out, layer.kernel_size, groups=parts, **sizes)
            for name in layer.then:
                pool = nn.MaxPool2d(3, 2, ceil_mode=design.ceil_mode)
                layers.append(pool if name == "pool" else ResponseNorm(out))
            width = out
        self.features = nn.Sequential(*layers)
        _, *size = feature_shape(self.features, in_shape)
        self.avgpool = nn.AdaptiveAvgPool2d(design.pooled_size) if design.pooled_size else None
        height, breadth = [design.pooled_size or s for s in size]
        self.classifier = _classifier(
            width * height * breadth, hidden, num_classes, dropout, design.drops_inputs, style
        )
        self.heads = (f"classifier.{len(self.classifier) - 1}",)  # they depend on the classes
        # Faster where the channels of a pixel lie side by side; activations follow the weights.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, H, W) to scores (B, K)."""
        x = self.features(x)
        if self.avgpool is not None:
            x = self.avgpool(x)
        return self.classifier(x.flatten(1))


def _classifier(
    width: int,
    hidden_sizes: list[int],
    num_classes: int,
    dropout: float,
    drops_inputs: bool,
    style: LayerStyle,
) -> nn.Sequential:
    """The fully connected layers; a dropout of 0 keeps its place in their numbering."""
    layers: list[nn.Module] = []
    for size in hidden_sizes:
        hidden, drop = style.linear(width, size), nn.Dropout(dropout)
        layers += [drop, *hidden] if drops_inputs else [*hidden, drop]
        width = size
    return nn.Sequential(*layers, style.scores(width, num_classes))


def check_architecture(
    channels: list[int], num_layers: int, hidden_sizes: list[int], groups: int, dropout: float
) -> None:
    """Raise ValueError unless every layer has a unit, the towers are equal and dropout in range."""
    known = len(channels) == num_layers and min(channels) >= 1
    require(known, "channels", f"{num_layers} whole numbers of at least 1", channels)
    rule = "whole numbers of at least 1"
    require(all(size >= 1 for size in hidden_sizes), "hidden_sizes", rule, hidden_sizes)
    require(groups in (1, 2), "groups", "1 or 2", groups)
    halves = all(size % groups == 0 for size in channels)
    require(halves, "channels", "even with two `groups`", channels)
    require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
    require(bool(hidden_sizes) or not dropout, "dropout", "0 without hidden layers", dropout)


class AlexNet(Classifier):
    """AlexNet under the rule of `Classifier`.

    Args:
        in_shape: (C, H, W); default: that of the data. The paper's is [3, 227, 227].
        num_classes: K; default: that of the data.
        variant: `paper` (the deck's drawing), `torchvision` (whose published weights load into
            `network`) or `small` (for pictures of 28 or 32 pixels).
        channels: Channels of the five convolutional layers; default: the variant's.
        hidden_sizes: Units of the fully connected layers; default: the variant's.
        groups: 2 parts layers 2, 4 and 5 into the paper's two towers; not with `torchvision`.
            The normalisation looks across both.
        dropout: Share of units silenced at each hidden fully connected layer, in [0, 1).
        activation: Name of the non-linearity.
        maxout_pieces: Affine maps per maxout unit.
        weight_init: How weights start; the paper's is `normal` with 0.01.
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
        variant: Variant = "paper",
        channels: list[int] | None = None,
        hidden_sizes: list[int] | None = None,
        groups: int = 1,
        dropout: float = 0.5,
        activation: Activation = "relu",
        maxout_pieces: int = 2,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        pretrained: str | None = None,
        pretrained_head: bool = True,
        **objective: Any,
    ):
        require_one_of("variant", variant, DESIGNS)
        shape, classes = resolve_picture(in_shape), require_num_classes(num_classes)
        towers = groups == 1 or variant != "torchvision"
        require(towers, "groups", "1 with the torchvision variant", groups)
        network = EightLayerNetwork(
            shape,
            classes,
            DESIGNS[variant],
            channels,
            hidden_sizes,
            groups,
            dropout,
            LayerStyle(activation, maxout_pieces, False, weight_init, weight_init_std),
        )
        load_pretrained(network, pretrained, pretrained_head)
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters(ignore=["pretrained", "pretrained_head"])

"""The convolutional network in the deck's typical structure, for pictures and for signals.

Deck, slides "Generalizing Convolutions", "Recognition from hidden features" (pooling) and "Typical
structure for image classification": convolutions with their non-linearity, then pooling, that
several times over, then fully connected layers and the scores. A stage ends with a pooling.
B batch, C channels, H x W picture, D steps of a signal, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .blocks.activations import Activation
from .blocks.checks import require, require_one_of
from .blocks.initializers import WeightInit
from .blocks.layers import AVERAGE_POOLING, GLOBAL_AVERAGE, MAX_POOLING, LayerStyle
from .classifier import Classifier
from .shapes import feature_shape, require_num_classes, resolve_input

Pooling = Literal["max", "average", "stride"]
Head = Literal["average", "flatten"]


class ConvolutionalNetwork(nn.Module):
    """Stages of convolutions that halve the picture, then a head of fully connected layers.

    Args:
        in_shape: (C, H, W) of a picture, or (D,) of a signal.
        num_classes: K.
        channels: Channels of each stage, at least one stage.
        num_convolutions: Convolutions per stage.
        kernel_size: Side of each kernel, odd: the padding keeps the size.
        dilation: Steps between the points that a kernel looks at (Yu and Koltun 2016).
        pooling: What ends a stage: the largest or the mean of 2 (x 2) neighbours, or a stride of 2
            in the stage's last convolution (Springenberg et al. 2015).
        head: What follows the stages: the `average` of each channel, or all values, `flatten`ed.
        hidden_sizes: Units of the fully connected layers before the scores.
        dropout: Share of units silenced before each fully connected layer, in [0, 1).
        style: What all layers have in common.

    Raises:
        ValueError: If an argument is outside its range, or the input is too small for the stages.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (32, 64),
        num_convolutions: int = 1,
        kernel_size: int = 3,
        dilation: int = 1,
        pooling: Pooling = "max",
        head: Head = "average",
        hidden_sizes: Sequence[int] = (),
        dropout: float = 0.0,
        style: LayerStyle | None = None,
    ):
        super().__init__()
        check_architecture(channels, num_convolutions, dilation, hidden_sizes, dropout)
        require_one_of("pooling", pooling, ("max", "average", "stride"))
        require_one_of("head", head, ("average", "flatten"))
        dims = 2 if len(in_shape) == 3 else 1
        style = style or LayerStyle(batch_norm=True)
        in_shape = in_shape if dims == 2 else [1, *in_shape]
        width, stages = in_shape[0], []
        for stage in channels:
            for is_last in [False] * (num_convolutions - 1) + [True]:
                stride = 2 if is_last and pooling == "stride" else 1
                stages += style.convolution(
                    width, stage, kernel_size, dims=dims, stride=stride, dilation=dilation
                )
                width = stage
            if pooling != "stride":
                stages.append((MAX_POOLING if pooling == "max" else AVERAGE_POOLING)[dims](2))
        end = [GLOBAL_AVERAGE[dims](1)] if head == "average" else []
        self.features = nn.Sequential(*stages, *end, nn.Flatten())
        (width,) = feature_shape(self.features, in_shape)
        layers: list[nn.Module] = []
        for size in hidden_sizes:
            layers += [*_dropout(dropout), *style.linear(width, size)]
            width = size
        layers += [*_dropout(dropout), style.scores(width, num_classes)]
        self.classifier = nn.Sequential(*layers)
        if dims == 2:
            # Faster where the channels of a pixel lie side by side; activations follow the weights.
            self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.is_for_signals = dims == 1

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, H, W) or signals (B, D) to scores (B, K)."""
        if self.is_for_signals:
            x = x.unsqueeze(1)  # (B, 1, D)
        return self.classifier(self.features(x))


def _dropout(share: float) -> list[nn.Module]:
    return [nn.Dropout(share)] if share else []


def check_architecture(
    channels: Sequence[int],
    num_convolutions: int,
    dilation: int,
    hidden_sizes: Sequence[int],
    dropout: float,
) -> None:
    """Raise ValueError unless every layer has a unit and the numbers are in range."""
    sizes = list(channels)
    rule = "at least one whole number, each at least 1"
    require(len(sizes) >= 1 and min(sizes) >= 1, "channels", rule, sizes)
    hidden = list(hidden_sizes)
    require(all(s >= 1 for s in hidden), "hidden_sizes", "whole numbers of at least 1", hidden)
    require(num_convolutions >= 1, "num_convolutions", "at least 1", num_convolutions)
    require(dilation >= 1, "dilation", "at least 1", dilation)
    require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)


class CNN(Classifier):
    """A convolutional network under the rule of `Classifier`.

    Args:
        in_shape: (C, H, W) of pictures, or (D,) of signals; default: that of the data.
        num_classes: K; default: that of the data.
        channels: Channels of each stage; default: 32 and 64.
        num_convolutions: Convolutions per stage.
        kernel_size: Side of each kernel, odd.
        dilation: Steps between the points that a kernel looks at.
        pooling: What ends a stage: `max`, `average` or a `stride` of 2.
        head: What follows the stages: the `average` of each channel, or `flatten`.
        hidden_sizes: Units of the fully connected layers; default: none.
        dropout: Share of units silenced before each fully connected layer, in [0, 1).
        activation: Name of the non-linearity.
        maxout_pieces: Affine maps per maxout unit.
        batch_norm: Normalise before each activation.
        weight_init: How weights start; `kaiming` suits the rectifiers.
        weight_init_std: Standard deviation of `normal`.
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range, or the pictures are too small.
    """

    def __init__(
        self,
        in_shape: list[int] | None = None,
        num_classes: int | None = None,
        channels: list[int] | None = None,
        num_convolutions: int = 1,
        kernel_size: int = 3,
        dilation: int = 1,
        pooling: Pooling = "max",
        head: Head = "average",
        hidden_sizes: list[int] | None = None,
        dropout: float = 0.0,
        activation: Activation = "relu",
        maxout_pieces: int = 2,
        batch_norm: bool = True,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        **objective: Any,
    ):
        _, shape = resolve_input(None, in_shape)
        require(len(shape) in (1, 3), "in_shape", "[C, H, W] or [D]", shape)
        classes = require_num_classes(num_classes)
        network = ConvolutionalNetwork(
            shape,
            classes,
            channels or [32, 64],
            num_convolutions,
            kernel_size,
            dilation,
            pooling,
            head,
            hidden_sizes or [],
            dropout,
            LayerStyle(activation, maxout_pieces, batch_norm, weight_init, weight_init_std),
        )
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters()

"""Networks of a generative adversarial network: generators of examples, and their discriminators.

Deck, slides "Generative Adversarial Network" and "Deconvolutional Generator". Fully connected as in
Goodfellow et al. 2014, section 5; deconvolutional as in DCGAN (Radford, Metz and Chintala 2016,
section 3): strides in place of pooling, batch norm but in the generator's last and the
discriminator's first layer, ReLU in the one and leaky ReLU in the other, tanh at the end.
Differences: the fully connected discriminator has leaky ReLU in place of maxout; the side of the
first picture follows the data's, and not 4.
B batch, Z noise, C channels, H x W picture, D numbers of an example.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from ..blocks.checks import require
from ..blocks.initializers import WeightInit, check_weight_init, init_weights
from ..blocks.layers import LayerStyle
from ..steps.lean_step import channels_last

SLOPE = 0.2  # of DCGAN's leaky ReLU
KERNEL, STRIDE, PADDING = 4, 2, 1  # doubles or halves a side; a stride that divides the kernel


class MLPGenerator(nn.Sequential):
    """Fully connected layers from noise (B, Z) to examples (B, D), the last one linear.

    Args:
        noise_size: Z.
        out_features: D.
        hidden_sizes: Units of each hidden layer, each at least 1.
        style: What the hidden layers have in common.
    """

    def __init__(
        self, noise_size: int, out_features: int, hidden_sizes: Sequence[int], style: LayerStyle
    ):
        check_widths("hidden_sizes", hidden_sizes)
        layers, width = [], noise_size
        for size in hidden_sizes:
            layers += style.linear(width, size)
            width = size
        super().__init__(*layers, style.scores(width, out_features))


class MLPDiscriminator(nn.Module):
    """Fully connected layers from examples (B, D) to scores (B,).

    Args:
        in_features: D.
        hidden_sizes: Units of each hidden layer, each at least 1.
        dropout: Share of hidden units silenced while training, in [0, 1).
        style: What the hidden layers have in common.
        score_bias: Whether the score has a bias; under `wgan_gp` it would cancel out.
    """

    def __init__(
        self,
        in_features: int,
        hidden_sizes: Sequence[int],
        dropout: float,
        style: LayerStyle,
        score_bias: bool = True,
    ):
        super().__init__()
        check_widths("hidden_sizes", hidden_sizes)
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        layers: list[nn.Module] = [nn.Flatten()]
        width = in_features
        for size in hidden_sizes:
            layers += style.linear(width, size)
            layers += [nn.Dropout(dropout)] if dropout else []
            width = size
        score = nn.Linear(width, 1, bias=score_bias)
        init_weights(score, style.weight_init, std=style.weight_init_std)
        self.layers = nn.Sequential(*layers, score)

    def forward(self, x: Tensor) -> Tensor:
        """Map examples (B, ...) to scores (B,)."""
        return self.layers(x).squeeze(1)  # (B,)


class DeconvolutionalGenerator(nn.Module):
    """A linear layer to a small picture of many channels, then deconvolutions that double it.

    Args:
        noise_size: Z.
        in_shape: (C, H, W) of the pictures to make.
        channels: Channels before the last layer; each layer before has twice as many.
        weight_init: How weights start; DCGAN's is `normal`.
        weight_init_std: Standard deviation of `normal`.

    Raises:
        ValueError: If the sides cannot be halved, or an argument is outside its range.
    """

    def __init__(
        self,
        noise_size: int,
        in_shape: Sequence[int],
        channels: int = 32,
        weight_init: WeightInit = "normal",
        weight_init_std: float = 0.02,
    ):
        super().__init__()
        check_weight_init(weight_init, weight_init_std)
        widths, self.start = pyramid(in_shape, channels)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[-1]), nn.ReLU()]
        for width, narrower in zip(widths[:0:-1], widths[-2::-1], strict=True):
            layers += [
                nn.ConvTranspose2d(width, narrower, KERNEL, STRIDE, PADDING, bias=False),
                nn.BatchNorm2d(narrower),
                nn.ReLU(),
            ]
        last = nn.ConvTranspose2d(widths[0], in_shape[0], KERNEL, STRIDE, PADDING)
        self.project = nn.Linear(noise_size, math.prod(self.start), bias=False)
        self.layers = nn.Sequential(*layers, last)
        _start(self, weight_init, weight_init_std)

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise (B, Z) to pictures before the tanh, (B, C, H, W)."""
        x = self.project(noise).view(-1, *self.start)  # (B, channels, H / 2^n, W / 2^n)
        return self.layers(x)


class ConvolutionalDiscriminator(nn.Module):
    """Convolutions that halve the picture, then a linear layer to the score.

    Args:
        in_shape: (C, H, W) of the pictures.
        channels: Channels of the first layer; each layer after has twice as many.
        dropout: Share of units silenced before the score while training, in [0, 1).
        batch_norm: Normalise in all layers but the first.
        weight_init: How weights start.
        weight_init_std: Standard deviation of `normal`.
        score_bias: Whether the score has a bias; under `wgan_gp` it would cancel out.

    Raises:
        ValueError: If the sides cannot be halved, or an argument is outside its range.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        channels: int = 32,
        dropout: float = 0.0,
        batch_norm: bool = True,
        weight_init: WeightInit = "normal",
        weight_init_std: float = 0.02,
        score_bias: bool = True,
    ):
        super().__init__()
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        check_weight_init(weight_init, weight_init_std)
        widths, end = pyramid(in_shape, channels)
        layers: list[nn.Module] = []
        for before, width in zip([in_shape[0], *widths[:-1]], widths, strict=True):
            norm = batch_norm and bool(layers)
            layers.append(nn.Conv2d(before, width, KERNEL, STRIDE, PADDING, bias=not norm))
            layers += [nn.BatchNorm2d(width)] if norm else []
            layers.append(nn.LeakyReLU(SLOPE))
        layers += [nn.Flatten(), *([nn.Dropout(dropout)] if dropout else [])]
        self.layers = nn.Sequential(*layers, nn.Linear(math.prod(end), 1, bias=score_bias))
        _start(self, weight_init, weight_init_std)

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, H, W), from -1 to 1, to scores (B,)."""
        return self.layers(x).squeeze(1)  # (B,)


def pyramid(in_shape: Sequence[int], channels: int) -> tuple[list[int], tuple[int, int, int]]:
    """Channels of each halving, from the picture inwards, and the shape at the end of them.

    Sides are halved as long as they are even and at least 4 is left: 28 to 7, 32 and 64 to 4.

    Raises:
        ValueError: If they cannot be halved once, or `channels` is below 1.
    """
    require(channels >= 1, "channels", "at least 1", channels)
    _, height, width = in_shape
    halvings = 0
    while height % 2 == width % 2 == 0 and min(height, width) >= 8:
        height, width, halvings = height // 2, width // 2, halvings + 1
    rule = "pictures whose sides are even and at least 8"
    require(halvings >= 1, "in_shape", rule, list(in_shape))
    widths = [channels * 2**number for number in range(halvings)]
    return widths, (widths[-1], height, width)


def check_widths(name: str, sizes: Sequence[int]) -> None:
    """Raise ValueError unless every layer has a unit."""
    rule = "whole numbers of at least 1"
    require(all(size >= 1 for size in sizes), name, rule, list(sizes))


def _start(network: nn.Module, weight_init: WeightInit, std: float) -> None:
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            # Of a deconvolution `kaiming` counts the inputs of the convolution that it mirrors.
            init_weights(layer, weight_init, std=std)
    channels_last(network)

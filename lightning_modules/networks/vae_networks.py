"""The networks of a variational autoencoder: an encoder to Gaussian codes, and a decoder.

Fully connected as in Kingma and Welling 2014, appendix C, or with convolutions that halve the
picture and transposed ones that double it (deck, slides "Deep Convolutional Autoencoder" and
"Deconvolutional Generator"). B batch, C channels, H x W picture, D = C H W pixels, Z code.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..blocks.checks import require
from ..blocks.initializers import init_weights
from ..blocks.layers import LayerStyle

KERNEL, STRIDE, PADDING = 4, 2, 1  # a kernel that the stride divides leaves no chequered pattern


class VAENetwork(nn.Module):
    """Tells the Gaussian of a picture's code, and what a code says about the pixels.

    Args:
        in_shape: Shape of one picture, (C, H, W), or (D,).
        code_size: Z.
        hidden_sizes: Units of the encoder's fully connected layers; the decoder has them reversed.
        channels: Channels of convolutions before them, each halving the picture; none: no
            convolutions.
        style: What the hidden layers have in common.
        variational: Whether a code is a Gaussian; else the encoder tells the code itself.

    Raises:
        ValueError: If a layer has no unit, or the picture is too small to be halved so often.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        code_size: int,
        hidden_sizes: Sequence[int],
        channels: Sequence[int],
        style: LayerStyle,
        variational: bool = True,
    ):
        super().__init__()
        check_sizes(in_shape, code_size, hidden_sizes, channels)
        shapes = halved_shapes(in_shape, channels)
        widths, mirrored = [math.prod(shapes[-1]), *hidden_sizes], [*hidden_sizes, code_size][::-1]
        self.in_shape, self.variational = tuple(in_shape), variational
        self.encoder = nn.Sequential(
            *_convolutions(style, shapes),
            nn.Flatten(),
            *_fully_connected(style, widths),
            style.scores(widths[-1], 2 * code_size if variational else code_size),
        )
        self.decoder = nn.Sequential(
            *_fully_connected(style, mirrored), *_to_pixels(style, mirrored[-1], shapes)
        )
        if channels:
            # Faster where the channels of a pixel lie side by side; activations follow the weights.
            self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log variance (B, Z) of the codes of pixels (B, D); no variance if plain."""
        told = self.encoder(pixels.view(-1, *self.in_shape))
        if not self.variational:
            return told, None
        mean, log_variance = told.chunk(2, dim=1)
        return mean, log_variance

    def decode(self, code: Tensor) -> Tensor:
        """What codes (..., Z) say about the pixels, (..., D), without a non-linearity."""
        said = self.decoder(code.flatten(0, -2))  # (N, ...)
        return said.reshape(*code.shape[:-1], -1)  # (..., D)


def check_sizes(
    in_shape: Sequence[int], code_size: int, hidden_sizes: Sequence[int], channels: Sequence[int]
) -> None:
    """Raise ValueError unless each layer has a unit and convolutions have a picture to halve."""
    sizes, rule = list(hidden_sizes), "whole numbers of at least 1"
    require(all(size >= 1 for size in sizes), "hidden_sizes", rule, sizes)
    require(all(size >= 1 for size in channels), "channels", rule, list(channels))
    require(code_size >= 1, "code_size", "at least 1", code_size)
    if channels:
        require(len(in_shape) == 3, "in_shape", "[C, H, W] with `channels`", list(in_shape))
        least = 2 ** len(channels)
        rule = f"pictures of at least {least} x {least} pixels, to be halved {len(channels)} times"
        require(min(in_shape[1:]) >= least, "in_shape", rule, list(in_shape))


def halved_shapes(in_shape: Sequence[int], channels: Sequence[int]) -> list[tuple[int, ...]]:
    """Shapes of the picture and of what each convolution makes of it."""
    shapes = [tuple(in_shape)]
    for width in channels:
        shapes.append((width, shapes[-1][1] // STRIDE, shapes[-1][2] // STRIDE))
    return shapes


def _fully_connected(style: LayerStyle, widths: Sequence[int]) -> list[nn.Module]:
    """Hidden layers from each width to the next."""
    return [layer for pair in itertools.pairwise(widths) for layer in style.linear(*pair)]


def _convolutions(style: LayerStyle, shapes: Sequence[Sequence[int]]) -> list[nn.Module]:
    """Layers (B, *shapes[0]) to (B, *shapes[-1])."""
    return [
        layer
        for small, large in itertools.pairwise(shapes)
        for layer in style.convolution(small[0], large[0], KERNEL, stride=STRIDE, padding=PADDING)
    ]


def _to_pixels(style: LayerStyle, width: int, shapes: Sequence[Sequence[int]]) -> list[nn.Module]:
    """The decoder's last layers, from (B, width) to what is said about the pixels."""
    if len(shapes) == 1:
        return [style.scores(width, math.prod(shapes[0]))]
    start = shapes[-1]
    layers = [*style.linear(width, math.prod(start)), nn.Unflatten(1, tuple(start))]
    for number, (small, large) in enumerate(itertools.pairwise(reversed(shapes))):
        is_last = number == len(shapes) - 2
        layers += [_doubling(style, small, large, is_last)]
        layers += [] if is_last else [style.nonlinearity()]
    return layers


def _doubling(
    style: LayerStyle, small: Sequence[int], large: Sequence[int], is_last: bool
) -> nn.Module:
    """A transposed convolution from (B, *small) to (B, *large), as wide as the activation wants."""
    activation, pieces = ("linear", 1) if is_last else (style.activation, style.pieces)
    odd = (large[1] - STRIDE * small[1], large[2] - STRIDE * small[2])  # rows the halving dropped
    layer = nn.ConvTranspose2d(small[0], pieces * large[0], KERNEL, STRIDE, PADDING, odd)
    init_weights(layer, style.weight_init, std=style.weight_init_std, activation=activation)
    if style.weight_init == "kaiming":
        # The weight is stored inputs first, and a pixel hears 1 of `STRIDE`^2 places of a kernel.
        hears, assumed = small[0] * (KERNEL // STRIDE) ** 2, layer.weight[0].numel()
        with torch.no_grad():
            layer.weight.mul_(math.sqrt(assumed / hears))
    return layer

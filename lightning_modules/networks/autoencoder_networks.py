"""The networks of an autoencoder: fully connected, with tied weights, or convolutional.

Deck, slides "Unsupervised Encode Input Vector" (tied weights, W2 = W1^T) and "Deep Convolutional
Autoencoder". Each maps pixels to a code and a code to what it says about the pixels.
B batch, C channels, H x W picture, D = C H W pixels, Z code.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..blocks.activations import Activation, activation
from ..blocks.checks import require
from ..blocks.layers import LayerStyle
from .vae_networks import VAENetwork


class AutoencoderNetwork(nn.Module):
    """An encoder of fully connected layers, and a decoder with the same widths in reverse order.

    Args:
        in_features: D.
        hidden_sizes: Units of the encoder's hidden layers.
        code_size: Z; below D the code must leave something out, above it a penalty must.
        style: What the hidden layers have in common.
        code_activation: Non-linearity of the code.

    Raises:
        ValueError: If a layer has no unit.
    """

    def __init__(
        self,
        in_features: int,
        hidden_sizes: Sequence[int],
        code_size: int,
        style: LayerStyle,
        code_activation: Activation = "linear",
    ):
        super().__init__()
        check_sizes(hidden_sizes, code_size)
        widths = [in_features, *hidden_sizes]
        self.encoder = nn.Sequential(
            *_stack(style, widths),
            *_code_style(style, code_activation).linear(widths[-1], code_size),
        )
        mirrored = [code_size, *reversed(hidden_sizes)]
        last = style.scores(mirrored[-1], in_features)
        self.decoder = nn.Sequential(*_stack(style, mirrored), last)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map pixels (B, D) to what is said of them (B, D), without a non-linearity, and codes."""
        code = self.encoder(pixels)  # (B, Z)
        return self.decoder(code), code


class TiedNetwork(nn.Module):
    """A fully connected autoencoder with W2 = W1^T for each pair of mirrored layers.

    A weight is one parameter, which gets the sum of both gradients; only the biases are two.
    K-FAC would see the encoder's half of a gradient only: take another optimizer.

    Args:
        in_features: D.
        hidden_sizes: Units of the encoder's hidden layers.
        code_size: Z.
        style: What the hidden layers have in common.
        code_activation: Non-linearity of the code.

    Raises:
        ValueError: If a layer has no unit, or its non-linearity (maxout) narrows it.
    """

    def __init__(
        self,
        in_features: int,
        hidden_sizes: Sequence[int],
        code_size: int,
        style: LayerStyle,
        code_activation: Activation = "linear",
    ):
        super().__init__()
        check_sizes(hidden_sizes, code_size)
        code = _code_style(style, code_activation)
        for name, part in (("activation", style), ("code_activation", code)):
            rule = "one that keeps the width, with tied weights"
            require(part.pieces == 1, name, rule, part.activation)
        widths = [in_features, *hidden_sizes]
        layers = [*_stack(style, widths), *code.linear(widths[-1], code_size)]
        self.encoder = nn.Sequential(*layers)
        maps = [layer for layer in layers if isinstance(layer, nn.Linear)]
        self._maps = tuple(reversed(maps))  # a tuple registers nothing twice
        self.decoder_biases = nn.ParameterList(torch.zeros(m.in_features) for m in self._maps)
        self.nonlinearity = style.nonlinearity()

    def decoder(self, code: Tensor) -> Tensor:
        """What codes (B, Z) say about the pixels, (B, D)."""
        x = code
        for number, (layer, bias) in enumerate(zip(self._maps, self.decoder_biases, strict=True)):
            x = self.nonlinearity(x) if number else x
            x = linear(x, layer.weight.t(), bias)  # (B, layer.in_features)
        return x

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map pixels (B, D) to what is said of them (B, D), without a non-linearity, and codes."""
        code = self.encoder(pixels)  # (B, Z)
        return self.decoder(code), code


class ConvolutionalNetwork(nn.Module):
    """Convolutions that halve the picture, a code, and transposed convolutions that double it.

    The layers are those of a plain, not variational `VAENetwork`.

    Args:
        in_shape: (C, H, W).
        channels: Channels of the convolutions.
        hidden_sizes: Units of fully connected layers between them and the code.
        code_size: Z.
        style: What the hidden layers have in common.
        code_activation: Non-linearity of the code; none that narrows it (maxout).

    Raises:
        ValueError: If a layer has no unit, or the picture is too small to be halved so often.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        channels: Sequence[int],
        hidden_sizes: Sequence[int],
        code_size: int,
        style: LayerStyle,
        code_activation: Activation = "linear",
    ):
        super().__init__()
        check_sizes(hidden_sizes, code_size)
        rule = "one that keeps the width, with `network` convolutional"
        require(code_activation != "maxout", "code_activation", rule, code_activation)
        layers = VAENetwork(in_shape, code_size, hidden_sizes, channels, style, variational=False)
        self.encoder = nn.Sequential(
            nn.Unflatten(1, tuple(in_shape)), *layers.encoder, activation(code_activation)
        )
        self.decoder = nn.Sequential(*layers.decoder, nn.Flatten())

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map pixels (B, D) to what is said of them (B, D), without a non-linearity, and codes."""
        code = self.encoder(pixels)  # (B, Z)
        return self.decoder(code), code


def check_sizes(hidden_sizes: Sequence[int], code_size: int) -> None:
    """Raise ValueError unless each layer has a unit."""
    sizes, rule = list(hidden_sizes), "whole numbers of at least 1"
    require(all(size >= 1 for size in sizes), "hidden_sizes", rule, sizes)
    require(code_size >= 1, "code_size", "at least 1", code_size)


def _code_style(style: LayerStyle, code_activation: Activation) -> LayerStyle:
    return LayerStyle(code_activation, 2, False, style.weight_init, style.weight_init_std)


def _stack(style: LayerStyle, widths: Sequence[int]) -> list[nn.Module]:
    """Hidden layers from each width to the next."""
    return [layer for pair in itertools.pairwise(widths) for layer in style.linear(*pair)]

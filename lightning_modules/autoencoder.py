"""The autoencoder: a network that must say its input again after a narrow layer, the code.

Deck, slides "Auto Encoder" and "Unsupervised Encode Input Vector" (undercomplete, overcomplete,
tied weights), "Deep Convolutional Autoencoder", recap "Zooming In" (sparse). The recipe
`autoencoder-mnist` is the deep one of Hinton and Salakhutdinov 2006, "Reducing the Dimensionality
of Data with Neural Networks": 784-1000-500-250-30 and its mirror, logistic units, a linear code;
trained from scratch as in Martens 2010, "Deep Learning via Hessian-free Optimization", without
their layer-wise pretraining. Optimizers are compared on it since (Martens and Grosse 2015, section
13). B batch, D features, Z code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from .blocks.activations import Activation
from .blocks.checks import require, require_one_of
from .blocks.corruption import Corruption, check_corruption
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .networks.autoencoder_networks import AutoencoderNetwork, ConvolutionalNetwork, TiedNetwork
from .pixel_range import PixelRange
from .rules.autoencoder_rule import AutoencoderRule, CodingNetwork, Reconstruction, Sparsity
from .shapes import resolve_input

Network = Literal["fully_connected", "tied", "convolutional"]
NETWORKS = ("fully_connected", "tied", "convolutional")


class Autoencoder(AutoencoderRule):
    """An autoencoder under the rule of `AutoencoderRule`, which tells what is logged.

    Args:
        in_features: D; default: that of the data.
        in_shape: Shape of one example; default: that of the data.
        pixel_mean: What the data subtracted from the pixels, one number or one a channel; default:
            that of the data, or 0.
        pixel_std: What it divided them by, > 0; default: that of the data, or 1.
        network: `fully_connected`; `tied`: the same with W2 = W1^T; `convolutional`.
        hidden_sizes: Units of the encoder's fully connected hidden layers; default: 1000, 500, 250
            (none if convolutional).
        channels: Channels of the convolutions, each halving the picture; default: 32, 64 if
            convolutional.
        code_size: Z, the numbers that a picture is told by; above D (overcomplete) only a penalty
            or a corruption keeps the network from copying.
        activation: Non-linearity of the hidden layers.
        code_activation: Non-linearity of the code.
        loss: `bernoulli`, the cross entropy in nats of pixels as probabilities, or `squared`.
        sparsity: Penalty on the code's activations: `l1`, `kl` (its units are then on for a share
            of the pictures; wants a logistic code), or `none`.
        sparsity_weight: How much of the penalty is added, >= 0.
        sparsity_rate: The share of `kl`, in (0, 1).
        corruption: How the input is spoiled in training: `masking`, `gaussian` or `none`.
        corruption_level: The share of the pixels that masking sets to 0, or the noise's deviation.
        weight_init: How weights start; `sparse` suits deep logistic networks.
        weight_init_std: Standard deviation of `normal`.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    def __init__(
        self,
        in_features: int | None = None,
        in_shape: list[int] | None = None,
        pixel_mean: float | list[float] | None = None,
        pixel_std: float | list[float] | None = None,
        hidden_sizes: list[int] | None = None,
        code_size: int = 30,
        activation: Activation = "sigmoid",
        code_activation: Activation = "linear",
        loss: Reconstruction = "bernoulli",
        sparsity: Sparsity = "none",
        sparsity_weight: float = 0.0,
        sparsity_rate: float = 0.05,
        weight_init: WeightInit = "sparse",
        weight_init_std: float = 0.01,
        network: Network = "fully_connected",
        channels: list[int] | None = None,
        corruption: Corruption = "none",
        corruption_level: float = 0.0,
    ):
        _, shape = resolve_input(in_features, in_shape)
        require_one_of("loss", loss, ("bernoulli", "squared"))
        check_sparsity(sparsity, sparsity_weight, sparsity_rate, code_activation)
        check_corruption(corruption, corruption_level)
        style = LayerStyle(activation, 2, False, weight_init, weight_init_std)
        super().__init__(
            make_network(network, shape, hidden_sizes, channels, code_size, style, code_activation),
            PixelRange(pixel_mean, pixel_std, shape),
            code_size,
            loss,
            sparsity,
            sparsity_weight,
            sparsity_rate,
            corruption,
            corruption_level,
        )
        self.save_hyperparameters()
        self.example_input_array = torch.zeros(2, *shape)


def make_network(
    kind: Network,
    shape: Sequence[int],
    hidden_sizes: Sequence[int] | None,
    channels: Sequence[int] | None,
    code_size: int,
    style: LayerStyle,
    code_activation: Activation,
) -> CodingNetwork:
    """The network of a kind, for examples of a shape; arguments as of `Autoencoder`.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """
    require_one_of("network", kind, NETWORKS)
    if kind == "convolutional":
        sizes, widths = hidden_sizes or [], [32, 64] if channels is None else channels
        return ConvolutionalNetwork(shape, widths, sizes, code_size, style, code_activation)
    require(channels is None, "channels", "left out unless `network` is convolutional", channels)
    sizes = [1000, 500, 250] if hidden_sizes is None else hidden_sizes
    features = torch.Size(shape).numel()
    make = AutoencoderNetwork if kind == "fully_connected" else TiedNetwork
    return make(features, sizes, code_size, style, code_activation)


def check_sparsity(kind: str, weight: float, rate: float, code_activation: str) -> None:
    """Raise ValueError unless the penalty's numbers are in range and go with it."""
    require_one_of("sparsity", kind, ("none", "l1", "kl"))
    require(0 <= weight < float("inf"), "sparsity_weight", "0 or above", weight)
    idle, remedy = kind == "none" and weight > 0, "set `sparsity` to l1 or kl"
    require(not idle, "sparsity_weight", "0 without a sparsity penalty", weight, remedy)
    require(0 < rate < 1, "sparsity_rate", "in (0, 1)", rate)
    logistic = kind != "kl" or code_activation == "sigmoid"
    require(logistic, "code_activation", "sigmoid where `sparsity` is kl", code_activation)

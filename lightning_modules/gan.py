"""Generative adversarial networks of fully connected layers, and with deconvolutions.

Deck, slides "Generative Adversarial Network" and "Deconvolutional Generator". `GAN` is that of
Goodfellow et al. 2014, `DCGAN` that of Radford, Metz and Chintala 2016; the networks and what
differs from the papers are in `gan_networks.py`, the training in `adversarial_game.py`.
"""

from __future__ import annotations

from typing import Any

from .blocks.activations import Activation
from .blocks.adversarial import AdversarialLoss
from .blocks.checks import require
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .networks.gan_networks import (
    ConvolutionalDiscriminator,
    DeconvolutionalGenerator,
    MLPDiscriminator,
    MLPGenerator,
)
from .rules.adversarial_game import AdversarialGame
from .shapes import resolve_input, resolve_picture


class GAN(AdversarialGame):
    """A generator and a discriminator of fully connected layers, for points, signals and pictures.

    Args:
        in_features: D; default: that of the data.
        in_shape: Shape of one example; default: that of the data.
        noise_size: Z, numbers that an example is made from.
        hidden_sizes: Units of the generator's hidden layers; default: 128 and 128. The
            discriminator has them in reverse.
        activation: Non-linearity of the generator's hidden layers.
        discriminator_activation: That of the discriminator's.
        dropout: Share of the discriminator's hidden units silenced while training, in [0, 1).
        weight_init: How weights start.
        weight_init_std: Standard deviation of `normal`.
        loss: The game: `non_saturating`, `minimax`, `wgan_gp` or `hinge`.
        **game: See `AdversarialGame`.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    def __init__(
        self,
        in_features: int | None = None,
        in_shape: list[int] | None = None,
        noise_size: int = 64,
        hidden_sizes: list[int] | None = None,
        activation: Activation = "relu",
        discriminator_activation: Activation = "leaky_relu",
        dropout: float = 0.0,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        loss: AdversarialLoss = "non_saturating",
        **game: Any,
    ):
        features, shape = resolve_input(in_features, in_shape)
        require(noise_size >= 1, "noise_size", "at least 1", noise_size)
        sizes = [128, 128] if hidden_sizes is None else list(hidden_sizes)
        start = {"weight_init": weight_init, "weight_init_std": weight_init_std}
        generator = MLPGenerator(noise_size, features, sizes, LayerStyle(activation, **start))
        discriminator = MLPDiscriminator(
            features,
            sizes[::-1],
            dropout,
            LayerStyle(discriminator_activation, **start),
            score_bias=loss != "wgan_gp",
        )
        super().__init__(generator, discriminator, shape, noise_size, loss=loss, **game)
        self.save_hyperparameters()


class DCGAN(AdversarialGame):
    """A deconvolutional generator and a convolutional discriminator, for pictures.

    Args:
        in_shape: (C, H, W), sides even and at least 8; default: that of the data.
        noise_size: Z, numbers that a picture is made from; the paper's 100.
        channels: Channels of the layers next to the picture; each further in has twice as many.
            The paper's 128.
        dropout: Share of the discriminator's units silenced before its score, in [0, 1).
        discriminator_batch_norm: Whether the discriminator normalises; default: as in the paper,
            but not under `wgan_gp`.
        weight_init: How weights start; `normal` in the paper.
        weight_init_std: Standard deviation of `normal`.
        loss: The game: `non_saturating`, `minimax`, `wgan_gp` or `hinge`.
        **game: See `AdversarialGame`.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    def __init__(
        self,
        in_shape: list[int] | None = None,
        noise_size: int = 100,
        channels: int = 32,
        dropout: float = 0.0,
        discriminator_batch_norm: bool | None = None,
        weight_init: WeightInit = "normal",
        weight_init_std: float = 0.02,
        loss: AdversarialLoss = "non_saturating",
        **game: Any,
    ):
        shape = list(resolve_picture(in_shape))
        require(noise_size >= 1, "noise_size", "at least 1", noise_size)
        is_critic = loss == "wgan_gp"
        norm = not is_critic if discriminator_batch_norm is None else discriminator_batch_norm
        rule = "false under wgan_gp, whose penalty is of one example alone"
        require(not (norm and is_critic), "discriminator_batch_norm", rule, norm)
        start = {"weight_init": weight_init, "weight_init_std": weight_init_std}
        generator = DeconvolutionalGenerator(noise_size, shape, channels, **start)
        discriminator = ConvolutionalDiscriminator(
            shape, channels, dropout, norm, score_bias=not is_critic, **start
        )
        super().__init__(generator, discriminator, shape, noise_size, loss=loss, **game)
        self.save_hyperparameters()

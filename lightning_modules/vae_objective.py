"""What a variational autoencoder's two losses are made of: how pixels scatter, and the KL's weight.

Deck, slide "Variational Autoencoder". Kingma and Welling 2014, appendix C: decoders of coins and of
Gaussians; Salakhutdinov and Murray 2008: pixels as coins that are thrown anew each time.
B batch, D pixels, k codes a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .blocks.checks import require, require_one_of
from .blocks.gaussian import gaussian_log_density
from .blocks.losses import bernoulli_nll, gaussian_nll

Likelihood = Literal["bernoulli", "gaussian"]
Binarize = Literal["none", "dynamic", "threshold"]

SQUARED_ERROR_STD = 0.5**0.5  # with this deviation a Gaussian's loss is the squared error


@dataclass(frozen=True)
class PixelLikelihood:
    """How pixels scatter about what a decoder says of them.

    Args:
        kind: `bernoulli`: coins, or `gaussian` about the logistic function of what is said.
        noise_std: Deviation of a pixel under `gaussian`, > 0.
        binarize: Pixels as coins that are thrown anew each time (`dynamic`), or compared with 0.5
            (`threshold`), or grey as they are (`none`).

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    kind: Likelihood = "bernoulli"
    noise_std: float = SQUARED_ERROR_STD
    binarize: Binarize = "none"

    def __post_init__(self):
        require_one_of("likelihood", self.kind, ("bernoulli", "gaussian"))
        require_one_of("binarize", self.binarize, ("none", "dynamic", "threshold"))
        require(0 < self.noise_std < math.inf, "noise_std", "a positive number", self.noise_std)
        idle = self.kind != "gaussian" and self.noise_std != SQUARED_ERROR_STD
        rule = "left at its default unless `likelihood` is gaussian"
        require(not idle, "noise_std", rule, self.noise_std)

    def target(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pixels (B, D) as `binarize` wants them; coins are thrown with the generator."""
        match self.binarize:
            case "dynamic":
                drawn = torch.empty_like(pixels).uniform_(generator=generator)
                return (drawn < pixels).to(pixels.dtype)
            case "threshold":
                return (pixels >= 0.5).to(pixels.dtype)
            case _:
                return pixels

    def loss(self, said: Tensor, target: Tensor) -> Tensor:
        """-log p(x | z) in nats, mean over the pictures; both are (B, D)."""
        if self.kind == "bernoulli":
            return bernoulli_nll(said, target)
        return gaussian_nll(said.sigmoid(), target, math.log(self.noise_std))

    def log_likelihood(self, said: Tensor, target: Tensor) -> Tensor:
        """The log p(x | z), in nats, for each code that `said` (k, B, D) comes from: (k, B)."""
        if self.kind == "gaussian":
            return gaussian_log_density(target, said.sigmoid(), 2 * math.log(self.noise_std))
        return torch.einsum("kbd,bd->kb", said, target) - F.softplus(said).sum(-1)


@dataclass(frozen=True)
class LatentWeight:
    """The weight of the latent loss, which may grow from 0 in a straight line (warm-up).

    Args:
        kl_weight: The whole weight, >= 0; beta-VAE's beta.
        warmup_epochs: Epochs until it is whole; 0: it starts so.
        warmup_steps: The same in updates; not both.

    Raises:
        ValueError: If an argument is outside its range, or both warm-ups are given.
    """

    kl_weight: float = 1.0
    warmup_epochs: float = 0
    warmup_steps: int = 0

    def __post_init__(self):
        require(0 <= self.kl_weight < math.inf, "kl_weight", "0 or above", self.kl_weight)
        epochs, steps, rule = self.warmup_epochs, self.warmup_steps, "0 or above"
        require(0 <= epochs < math.inf, "kl_warmup_epochs", rule, epochs)
        require(steps >= 0, "kl_warmup_steps", rule, steps)
        require(not (epochs and steps), "kl_warmup_steps", "0 with `kl_warmup_epochs`", steps)

    def at(self, update: int, epoch: float) -> float:
        """The weight after so many updates and epochs of training."""
        if self.warmup_epochs:
            return self.kl_weight * min(1.0, epoch / self.warmup_epochs)
        if self.warmup_steps:
            return self.kl_weight * min(1.0, update / self.warmup_steps)
        return self.kl_weight

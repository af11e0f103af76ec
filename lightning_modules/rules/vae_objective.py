"""What a variational autoencoder's two losses are made of: how pixels scatter, and the KL's weight.

Deck, slide "Variational Autoencoder". Kingma and Welling 2014, appendix C: decoders of coins and of
Gaussians; Salakhutdinov and Murray 2008: pixels as coins that are thrown anew each time.
B batch, D pixels, k codes a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..blocks.checks import require, require_one_of
from ..blocks.gaussian import gaussian_log_density
from ..blocks.losses import gaussian_nll

Likelihood = Literal["bernoulli", "gaussian"]
Binarize = Literal["none", "dynamic", "threshold"]

FACTORS = 16  # numbers from 0.5 to 1 whose product has a logarithm without loss: at least 2^-16
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
                return thrown_coins(pixels, generator)
            case "threshold":
                return (pixels >= 0.5).to(pixels.dtype)
            case _:
                return pixels

    def loss(self, said: Tensor, target: Tensor) -> Tensor:
        """-log p(x | z) in nats, mean over the pictures; both are (B, D)."""
        if self.kind == "bernoulli":
            return coin_nll(said, target)
        return gaussian_nll(said.sigmoid(), target, math.log(self.noise_std))

    def log_likelihood(self, said: Tensor, target: Tensor) -> Tensor:
        """The log p(x | z), in nats, for each code that `said` (k, B, D) comes from: (k, B)."""
        if self.kind == "gaussian":
            return gaussian_log_density(target, said.sigmoid(), 2 * math.log(self.noise_std))
        return torch.einsum("kbd,bd->kb", said, target) - F.softplus(said).sum(-1)


def thrown_coins(pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """1 with the probability that a pixel tells, else 0.

    Sixteen bits a coin, so that one draw of the generator serves four. A probability is met within
    2^-16, and 0 and 1 exactly.

    Args:
        pixels: Probabilities, of any shape.
        generator: Where the bits are drawn from; default: torch's own.
    """
    draws = torch.empty(-(-pixels.numel() // 4), dtype=torch.int64, device=pixels.device)
    bits = draws.random_(-(2**63), None, generator=generator).view(torch.int16)
    drawn = bits[: pixels.numel()].view(pixels.shape)  # from -2^15 to 2^15 - 1
    return (drawn < pixels * 2**16 - 2**15).to(pixels.dtype)


def coin_nll(logits: Tensor, target: Tensor) -> Tensor:
    """`bernoulli_nll` with value and gradient in one pass, and few logarithms.

    With s the logistic function of a logit l, the loss of a coin that shows x is
    max(l, 0) - l x - log max(s, 1 - s), and its gradient s - x. The logarithms are added up as that
    of a product.

    Args:
        logits: (B, ...).
        target: x, in [0, 1], of the same shape.

    Returns:
        The mean over the batch, a scalar, in nats.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):  # too coarse for products
        logits = logits.float()
    loss: Tensor = _CoinLoss.apply(logits, target.to(logits.dtype))  # pyright: ignore[reportAssignmentType]
    return loss


class _CoinLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        heads = logits.sigmoid()
        likelier = torch.maximum(heads, 1 - heads)  # from 0.5 to 1
        products = likelier.reshape(math.gcd(likelier.numel(), FACTORS), -1).prod(0)
        total = logits.relu().addcmul_(logits, target, value=-1).sum() - products.log_().sum()
        ctx.save_for_backward(heads.sub_(target))
        return total / len(logits)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (difference,) = ctx.saved_tensors
        return difference * (grad / len(difference)), None


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

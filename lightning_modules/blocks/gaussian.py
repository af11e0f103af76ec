"""Gaussians with independent numbers, as a variational autoencoder's codes are.

Deck, slide "Variational Autoencoder": the latent loss measures how closely the codes match a unit
Gaussian. Kingma and Welling 2014, "Auto-Encoding Variational Bayes" (section 2.4 and appendix B).
Variances are told by their logarithms, so that any number a network says is one. B batch, Z code.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)), summed over the numbers of a code.

    It is 1/2 sum_z (mean^2 + variance - log variance - 1), with the other sign equation 10 of the
    paper. It is 0 where mean and log variance are 0, and above elsewhere.

    Args:
        mean: (..., Z).
        log_variance: Logarithms of the variances, of the same shape.

    Returns:
        One number a code, in nats, (...).
    """
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(-1)


def reparameterize(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Draw from N(mean, variance) so that gradients reach mean and variance.

    Args:
        mean: (..., Z).
        log_variance: Logarithms of the variances, of the same shape.
        noise: Draws from N(0, 1), (..., Z); with more axes in front it gives several draws a code.

    Returns:
        mean + std x noise, shaped like `noise`.
    """
    return mean + (0.5 * log_variance).exp() * noise


def draw_with_kl(mean: Tensor, log_variance: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """`reparameterize` and the mean `gaussian_kl` at once, with their gradient in one pass.

    Codes are short: what they cost a training step is the number of calls, and this makes fewer.

    Args:
        mean: (B, Z).
        log_variance: Logarithms of the variances, (B, Z).
        noise: Draws from N(0, 1), (B, Z).

    Returns:
        Codes (B, Z), and the mean over the batch of KL(N(mean, variance) || N(0, 1)), a scalar.
    """
    if mean.dtype in (torch.float16, torch.bfloat16):  # too coarse for sums
        mean, log_variance, noise = mean.float(), log_variance.float(), noise.float()
    drawn: tuple[Tensor, Tensor] = _DrawWithKL.apply(mean, log_variance, noise)  # pyright: ignore[reportAssignmentType]
    return drawn


class _DrawWithKL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, mean: Tensor, log_variance: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        std = (0.5 * log_variance).exp_()
        kl = mean.square().addcmul_(std, std).sub_(log_variance).sub_(1).sum() * (0.5 / len(mean))
        ctx.save_for_backward(mean, std, noise)
        return torch.addcmul(mean, std, noise), kl

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, code_grad: Tensor, kl_grad: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        mean, std, noise = ctx.saved_tensors
        share = kl_grad / len(mean)
        # d kl / d log variance = (variance - 1) / 2, d code / d log variance = std noise / 2.
        of_std = (code_grad * noise).addcmul_(std, share)
        return torch.addcmul(code_grad, mean, share), of_std.mul_(std).sub_(share).mul_(0.5), None


def gaussian_log_density(x: Tensor, mean: Tensor, log_variance: Tensor | float = 0.0) -> Tensor:
    """The density log N(x | mean, variance), summed over the last axis.

    Args:
        x: (..., D).
        mean: Of a shape that goes with `x`.
        log_variance: Logarithms of the variances, a number or a tensor that goes with `x`.

    Returns:
        One number an example, in nats, (...); a density may exceed 1, so it may be above 0.
    """
    log_variance = torch.as_tensor(log_variance, dtype=x.dtype, device=x.device)
    distance = (x - mean).square() * (-log_variance).exp()
    return -0.5 * (distance + log_variance + math.log(2 * math.pi)).sum(-1)


def standard_normal_quantiles(count: int) -> Tensor:
    """The middles of `count` shares, equally likely, of the unit Gaussian, in order: (count,).

    The grid of a picture of a two-dimensional code is made of them (Kingma and Welling 2014,
    appendix A): where codes are likely, its lines are close.
    """
    return torch.special.ndtri((torch.arange(count) + 0.5) / count)

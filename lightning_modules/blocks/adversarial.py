"""Losses of the game between a generator and a discriminator, as pure functions of scores.

Deck, slides "Generative Adversarial Network", "Deconvolutional Generator"; recap "Zooming In", loss
"Adversarial". The discriminator gives each example a score s, high for real; sigma(s) is the
probability that it is real. Both players minimise.

| name | discriminator | generator | source |
|---|---|---|---|
| `minimax` | -E log sigma(s) - E log(1 - sigma(s')) | E log(1 - sigma(s')) | Goodfellow et al. 2014, eq. 1 |
| `non_saturating` | the same | -E log sigma(s') | section 3 of the same |
| `wgan_gp` | E s' - E s + weight * penalty | -E s' | Gulrajani et al. 2017, eq. 3 |
| `hinge` | E max(0, 1 - s) + E max(0, 1 + s') | -E s' | Lim and Ye 2017, eq. 21 and 22 |

s are scores of real examples, s' of generated ones. B batch.
"""  # noqa: E501 (a table's row is one line)

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from .checks import require, require_one_of

AdversarialLoss = Literal["non_saturating", "minimax", "wgan_gp", "hinge"]
ADVERSARIAL_LOSSES = ("non_saturating", "minimax", "wgan_gp", "hinge")


def discriminator_loss(real: Tensor, fake: Tensor, loss: AdversarialLoss) -> Tensor:
    """What the discriminator minimises, the gradient penalty of `wgan_gp` left out.

    Args:
        real: Scores of real examples, (B,).
        fake: Scores of generated examples, (B,).
        loss: Name of the game.

    Returns:
        A scalar.

    Raises:
        ValueError: If the name is unknown.
    """
    require_one_of("loss", loss, ADVERSARIAL_LOSSES)
    match loss:
        case "wgan_gp":
            return fake.mean() - real.mean()
        case "hinge":
            return relu(1 - real).mean() + relu(1 + fake).mean()
        case _:
            # -log sigma(s) = softplus(-s) and -log(1 - sigma(s)) = softplus(s), never infinite.
            return softplus(-real).mean() + softplus(fake).mean()


def generator_loss(fake: Tensor, loss: AdversarialLoss) -> Tensor:
    """What the generator minimises.

    Args:
        fake: Scores of generated examples, (B,).
        loss: Name of the game. Where the discriminator wins, `minimax` has next to no gradient
            left, which `non_saturating` mends.

    Returns:
        A scalar.

    Raises:
        ValueError: If the name is unknown.
    """
    require_one_of("loss", loss, ADVERSARIAL_LOSSES)
    match loss:
        case "minimax":
            return -softplus(fake).mean()
        case "non_saturating":
            return softplus(-fake).mean()
        case _:
            return -fake.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor
) -> Tensor:
    """Mean of (|grad s(x)| - 1)^2 at points x between real and generated examples.

    It holds the critic near slope 1, as the Wasserstein distance asks. Its own gradient goes
    through the gradient of s (double backward). A critic with batch norm is none: its score of one
    example depends on the others (Gulrajani et al. 2017, section 4).

    Args:
        critic: Maps examples (B, ...) to scores (B,).
        real: Examples, (B, ...).
        fake: Generated examples, likewise.
        share: How much of each point is real, in [0, 1], (B,).

    Returns:
        A scalar that can be differentiated by the critic's parameters.

    Raises:
        ValueError: If there are not as many real as generated examples.
    """
    require(real.shape == fake.shape, "fake", f"shaped {list(real.shape)}", list(fake.shape))
    share = share.view(-1, *[1] * (real.ndim - 1))  # (B, 1, ...)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    with torch.enable_grad():
        scores = critic(between)
        (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()

"""The penalty lambda R(W) that the training objective adds (deck, "Regularization").

R sums over weight matrices and kernels only: the deck's W has two indices, and a bias or a
normalisation's scale needs no shrinking. Weight decay is an optimizer's argument; with plain SGD
`weight_decay = 2 lambda` is the same step as L2.

A penalty on activations asks for few active units instead of small weights (recap, "Sparse").
B batch, Z units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

REGULARIZERS = ("none", "l1", "l2", "elastic_net")


def l2(weights: Iterable[Tensor]) -> Tensor:
    """R(W) = sum of W^2 over all entries of all weights, a scalar."""
    return torch.stack([w.square().sum() for w in weights]).sum()


def l1(weights: Iterable[Tensor]) -> Tensor:
    """R(W) = sum of |W| over all entries of all weights, a scalar."""
    return torch.stack([w.abs().sum() for w in weights]).sum()


def elastic_net(weights: Iterable[Tensor], l2_share: float = 1.0) -> Tensor:
    """R(W) = sum of beta W^2 + |W|, a scalar (Zou and Hastie 2005, with the deck's scaling).

    Args:
        weights: Weight tensors of any shape.
        l2_share: The deck's beta: how much of L2 there is beside one part of L1.
    """
    weights = list(weights)
    return l2_share * l2(weights) + l1(weights)


def activation_l1(activations: Tensor) -> Tensor:
    """The sum of |a| over the units of an example, the mean over the batch: a scalar.

    Args:
        activations: a, (B, ...).
    """
    return activations.abs().sum() / len(activations)


def activation_kl(activations: Tensor, target_rate: float) -> Tensor:
    """The sum over the units of KL(coin of the target rate || coin of the unit's rate).

    The rate of a unit is its mean activation over the batch, which should be a small share (Ng
    2011, "Sparse autoencoder", section 3). A unit that is always off or on counts as nearly so.

    Args:
        activations: In [0, 1], (B, Z).
        target_rate: In (0, 1).

    Returns:
        A scalar in nats, 0 where every unit has the target rate.
    """
    margin = torch.finfo(activations.dtype).eps
    rate = activations.mean(0).clamp(margin, 1 - margin)  # (Z,)
    on = target_rate * (math.log(target_rate) - rate.log())
    off = (1 - target_rate) * (math.log1p(-target_rate) - (-rate).log1p())
    return (on + off).sum()


def regularized_weights(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that R(W) sums over: those with two dimensions or more."""
    return [p for p in module.parameters() if p.requires_grad and p.ndim >= 2]

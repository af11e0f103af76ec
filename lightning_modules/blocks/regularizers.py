"""The penalty lambda R(W) that the training objective adds (deck, "Regularization").

R sums over weight matrices and kernels only: the deck's W has two indices, and a bias or a
normalisation's scale needs no shrinking. Weight decay is an optimizer's argument; with plain SGD
`weight_decay = 2 lambda` is the same step as L2.
"""

from __future__ import annotations

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


def regularized_weights(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that R(W) sums over: those with two dimensions or more."""
    return [p for p in module.parameters() if p.requires_grad and p.ndim >= 2]

"""The distributions whose negative log likelihood a loss is, and targets drawn from them.

Deck, recap "Zooming In", loss "Max. Likelihood". A model that is trained by a likelihood can be
asked what it expects: the Fisher matrix is the spread of the gradients for targets that it draws.
B batch, K outputs.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Likelihood = Literal["categorical", "bernoulli", "gaussian"]
LIKELIHOODS = ("categorical", "bernoulli", "gaussian")


def sampled_gradient(outputs: Tensor, likelihood: Likelihood) -> Tensor:
    """Gradients of -log p(y | s) by the outputs s, for targets y that are drawn from p itself.

    Args:
        outputs: s, (B, K, ...).
        likelihood: `categorical`: s are scores of K classes, the loss is cross entropy;
            `bernoulli`: s are logits, the loss is the binary cross entropy summed over an example;
            `gaussian`: s are means, the loss is the squared error summed over an example, that is
            a variance of 1/2.

    Returns:
        A tensor like `outputs`; its mean is zero.
    """
    match likelihood:
        case "categorical":
            p = outputs.softmax(1).movedim(1, -1)  # (B, ..., K)
            # A race: class k arrives first with probability p_k. NaN, in a run that has diverged,
            # goes through; torch's own draws would raise.
            winner = (p / torch.empty_like(p).exponential_()).argmax(-1, keepdim=True)
            return p.scatter_add(-1, winner, -torch.ones_like(p)).movedim(-1, 1)
        case "bernoulli":
            p = outputs.sigmoid()
            return p - (torch.rand_like(p) < p).to(p.dtype)
        case _:
            return math.sqrt(2) * torch.randn_like(outputs)

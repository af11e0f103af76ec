"""What an action value ought to be: targets of temporal-difference learning, as pure functions.

Deck, slide "DQN". B batch, A actions.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

TDLoss = Literal["huber", "squared"]


def best_next_value(target_values: Tensor, online_values: Tensor | None = None) -> Tensor:
    """Max over a of q(s', a), (B,).

    Args:
        target_values: q of the target network at s' (B, A).
        online_values: q of the trained network at s' (B, A): it chooses the action, which the
            target network judges (Double DQN, van Hasselt et al. 2016, equation 4).
    """
    if online_values is None:
        return target_values.amax(1)
    best = online_values.argmax(1, keepdim=True)  # (B, 1)
    return target_values.gather(1, best).squeeze(1)


def td_target(rewards: Tensor, discounts: Tensor, next_values: Tensor) -> Tensor:
    """R + gamma^n q(s', a'), where the discount is 0 after termination; all (B,).

    Mnih et al. 2015, algorithm 1: y_j.
    """
    return torch.addcmul(rewards, discounts, next_values)


def td_loss(values: Tensor, targets: Tensor, loss: TDLoss, weights: Tensor | None = None) -> Tensor:
    """Mean of the loss of values (B,) against targets (B,), a scalar.

    Args:
        values: q(s, a).
        targets: What they ought to be.
        loss: `huber`: half the square up to a distance of 1, then linear (Mnih et al. 2015 clip the
            error term, which has the same gradient); `squared`: the square.
        weights: (B,) of prioritised replay.
    """
    each = F.smooth_l1_loss if loss == "huber" else F.mse_loss
    if weights is None:
        return each(values, targets)
    return (weights * each(values, targets, reduction="none")).mean()


def td_loss_gradient(errors: Tensor, loss: TDLoss, weights: Tensor | None = None) -> Tensor:
    """Derivative of `td_loss` with respect to the values, (B,), from the errors q - y (B,)."""
    slopes = errors.clamp(-1, 1) if loss == "huber" else 2 * errors
    if weights is not None:
        slopes = weights * slopes
    return slopes / len(errors)

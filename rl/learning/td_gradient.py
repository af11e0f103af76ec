"""The gradient of a batch's temporal-difference loss, by autograd or, for a small MLP, by hand.

B batch, A actions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..replay.ring import Transitions
from .rectifier_mlp import RectifierMLP
from .td_targets import TDLoss, best_next_value, td_loss, td_loss_gradient, td_target


def set_gradient(
    network: nn.Module,
    target_network: nn.Module,
    batch: Transitions,
    weights: Tensor | None,
    loss: TDLoss,
    double: bool,
) -> tuple[Tensor, Tensor]:
    """Set the gradients of the network's parameters.

    Args:
        network: What learns.
        target_network: What judges the next states; a twin of it.
        batch: B transitions.
        weights: (B,) of prioritised replay.
        loss: `huber` or `squared`.
        double: Whether the network chooses the action that the target network judges.

    Returns:
        q(s, a) and its targets, (B,) each.
    """
    if isinstance(network, RectifierMLP) and isinstance(target_network, RectifierMLP):
        return _by_hand(network, target_network, batch, weights, loss, double)
    return _by_autograd(network, target_network, batch, weights, loss, double)


def _by_autograd(
    network: nn.Module,
    target_network: nn.Module,
    batch: Transitions,
    weights: Tensor | None,
    loss: TDLoss,
    double: bool,
) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        after = target_network(batch.next_observations)  # (B, A)
        chosen = network(batch.next_observations) if double else None
        targets = td_target(batch.rewards, batch.discounts, best_next_value(after, chosen))
    every = network(batch.observations)  # (B, A)
    values = every.gather(1, batch.actions.unsqueeze(1)).squeeze(1)  # (B,)
    network.zero_grad()
    td_loss(values, targets, loss, weights).backward()
    return values.detach(), targets


@torch.no_grad()
def _by_hand(
    network: RectifierMLP,
    target_network: RectifierMLP,
    batch: Transitions,
    weights: Tensor | None,
    loss: TDLoss,
    double: bool,
) -> tuple[Tensor, Tensor]:
    """The same, three times as fast for a small network."""
    after = target_network.values(batch.next_observations)[-1]  # (B, A)
    chosen = network.values(batch.next_observations)[-1] if double else None
    targets = td_target(batch.rewards, batch.discounts, best_next_value(after, chosen))
    layers, actions = network.values(batch.observations), batch.actions.unsqueeze(1)
    values = layers[-1].gather(1, actions).squeeze(1)  # (B,)
    slopes = td_loss_gradient(values - targets, loss, weights)  # (B,)
    gradient = torch.zeros_like(layers[-1]).scatter_(1, actions, slopes.unsqueeze(1))  # (B, A)
    network.backward(layers, gradient)
    return values, targets

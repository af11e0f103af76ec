"""What REINFORCE learns from: returns to go, advantages and the loss, as pure functions.

Williams 1992, section 3 (the gradient and the reinforcement baseline); Sutton and Barto 2018,
sections 13.3 and 13.4. Deck, recap "Zooming In", losses: REINFORCE.
T steps of a rollout, N environments, B steps of all environments together, A actions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

SumOverRanks = Callable[[Tensor], Tensor]


def is_cut(terminated: NDArray, truncated: NDArray) -> NDArray:
    """Where rewards would have gone on, but the time ended or the rollout did.

    Args:
        terminated: (T, N) bool, the task ended here.
        truncated: (T, N) bool, the time ended here.

    Returns:
        (T, N) bool.
    """
    cut = truncated.copy()
    cut[-1] = True
    return cut & ~terminated


def returns_to_go(
    rewards: NDArray,
    terminated: NDArray,
    truncated: NDArray,
    discount: float,
    after: NDArray | None = None,
) -> NDArray:
    """G_t = R_t+1 + gamma G_t+1 up to the end of the episode (Sutton and Barto 2018, 3.9).

    Nothing comes after a termination. After a cut (`is_cut`) comes `after`.

    Args:
        rewards: (T, N).
        terminated: (T, N) bool.
        truncated: (T, N) bool.
        discount: gamma, in [0, 1].
        after: (T, N), expected return of what would have followed; read at cuts alone. None: what
            was cut off is left out, so that the return is that of the steps seen.

    Returns:
        (T, N), float64.
    """
    cut, ends = is_cut(terminated, truncated), terminated | truncated
    ends[-1] = True
    follows = np.where(cut, after, 0.0) if after is not None else np.zeros(rewards.shape)
    returns = np.empty(rewards.shape)
    later = follows[-1]  # (N,)
    for step in range(len(rewards) - 1, -1, -1):
        later = rewards[step] + discount * np.where(ends[step], follows[step], later)
        returns[step] = later
    return returns


def alone(values: Tensor) -> Tensor:
    """The sum over the processes where there is one."""
    return values


def mean_and_deviation(
    values: Tensor, sum_over_ranks: SumOverRanks = alone
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the values of all processes together, two scalars.

    Args:
        values: (B,); another number of them on each rank is allowed.
        sum_over_ranks: Adds up a tensor over the processes.
    """
    total, count = sum_over_ranks(torch.stack((values.sum(), values.new_tensor(len(values)))))
    mean = total / count
    variance = sum_over_ranks((values - mean).square().sum()) / count
    return mean, variance.sqrt()


def standardised(values: Tensor, sum_over_ranks: SumOverRanks = alone) -> Tensor:
    """Values less their mean, over their standard deviation; of all processes together.

    Args:
        values: (B,).
        sum_over_ranks: As above.

    Returns:
        (B,); zeros where all values are the same.
    """
    mean, deviation = mean_and_deviation(values, sum_over_ranks)
    return (values - mean) / (deviation + 1e-8)


def entropy(scores: Tensor) -> Tensor:
    """Mean entropy of the policy in nats, a scalar: 0 when sure, log A when guessing.

    Args:
        scores: (B, A) before the soft-max.
    """
    logs = scores.log_softmax(1)
    return -(logs.exp() * logs).sum(1).mean()


def reinforce_loss(
    scores: Tensor, actions: Tensor, advantages: Tensor, entropy_bonus: float = 0.0
) -> Tensor:
    """Mean of -log pi(a|s) (G - b), less the bonus times the entropy; a scalar.

    Its gradient is minus the policy gradient of Williams 1992 (theorem 1) and Sutton and Barto 2018
    (equation 13.11). The bonus keeps the policy from being sure too early (Williams and Peng 1991).

    Args:
        scores: (B, A) before the soft-max, as the policy that acted gives them.
        actions: (B,), what was done.
        advantages: (B,), G - b: how much better it turned out than expected; taken as given.
        entropy_bonus: Weight of the entropy, 0 or more.
    """
    surprise = F.cross_entropy(scores, actions, reduction="none")  # (B,): -log pi(a|s)
    loss = (surprise * advantages.detach()).mean()
    return loss - entropy_bonus * entropy(scores) if entropy_bonus else loss

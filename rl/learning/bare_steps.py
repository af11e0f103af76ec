"""What an update of a small network costs beside its arithmetic, and how to spare it.

At 64 units an update is 0.1 to 0.2 ms. torch opens a range for its profiler in each `step()`, and
clips the norms of a list of gradients in a dozen calls; both are a third of that.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer


def bare_step(optimizer: Optimizer) -> Callable[[], Any]:
    """The optimizer's step, to be called without autograd, past the profiler where nobody listens.

    Args:
        optimizer: Any; one with hooks keeps them.
    """
    hooks = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    if any(hooks) or "step" in vars(optimizer):  # a schedule counts the calls
        return optimizer.step
    step = inspect.unwrap(type(optimizer).step)
    return lambda: step(optimizer)


@torch.no_grad()
def clip_norm(parameters: Sequence[nn.Parameter], largest: float) -> None:
    """Scale the gradients down to a norm, where theirs is larger.

    Args:
        parameters: Whose gradients; one parameter is the fast case.
        largest: Of the norm of all gradients together.
    """
    if len(parameters) > 1 or parameters[0].grad is None:
        clip_grad_norm_(parameters, largest)
        return
    gradient: Tensor = parameters[0].grad
    gradient.mul_((largest / (gradient.norm() + 1e-6)).clamp_(max=1.0))


@torch.no_grad()
def follow(target: nn.Module, network: nn.Module, tau: float) -> None:
    """w- <- w- + tau (w - w-), for the weights w- of the target and w of the network."""
    for theirs, ours in zip(target.parameters(), network.parameters(), strict=True):
        theirs.lerp_(ours, tau)

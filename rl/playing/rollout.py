"""Acting for a while with one policy, and what came of it.

T steps of a rollout, N environments, (*O) shape of an observation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..evaluation import Policy
from .acting import Environments, Steps


def play_rollout(
    environments: Environments, policy: Policy, num_steps: int, *, whole_episodes: bool = False
) -> Steps:
    """Act in all environments.

    A rollout of whole episodes begins anew in each environment. All episodes that begin within its
    steps are played to their end, the long ones too: who took those that end within the steps would
    prefer short ones. An environment that is through goes on idly until all are.

    Args:
        environments: Under way.
        policy: What to do.
        num_steps: T, at least 1; of whole episodes the least.
        whole_episodes: Whether no episode is cut off.

    Returns:
        The steps, each field with T in front: (T, N) or (T, N, *O). What was only idled through is
        not `is_real`.
    """
    if whole_episodes:
        environments.begin_anew()
    kept: list[Steps] = []
    is_through = np.zeros(len(environments), bool)
    while len(kept) < num_steps or (whole_episodes and not is_through.all()):
        steps = environments.step(policy(environments.observations))
        steps = steps._replace(is_real=steps.is_real & ~is_through)
        kept.append(steps)
        if whole_episodes and len(kept) >= num_steps:
            _forget_idle(environments, steps.ended, is_through)
            is_through |= steps.ended
    return Steps(*(np.stack(field) for field in zip(*kept, strict=True)))


def _forget_idle(environments: Environments, ended: NDArray, is_through: NDArray) -> None:
    """Drop the episodes that ended just now where an environment only idles."""
    numbers = np.flatnonzero(ended)
    if len(numbers):
        latest = zip(numbers, environments.episodes[-len(numbers) :], strict=True)
        environments.episodes[-len(numbers) :] = [e for n, e in latest if not is_through[n]]

"""How many trials run at a time: what each node has against what a trial asks for. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..platform.configuration.options import Launch
from ..platform.launch.capacity import Resources, check_fits, worker_shape


def concurrency(nodes: Sequence[Resources], launch: Launch, limit: int | None = None) -> int:
    """How many trials can run at a time.

    Args:
        nodes: What each living node has, by Ray's names (`CPU`, `GPU`).
        launch: The shape of a trial: workers, and what each reserves.
        limit: The user's own upper limit.

    Raises:
        UserError: Not even one trial fits, with the numbers.
    """
    # One that takes what room there is shall find it, and not wait beside another for its least.
    num_trials = max(1, check_fits(nodes, launch, "trial") // launch.most_workers)
    return min(num_trials, limit or num_trials)


def actor_shape(launch: Launch) -> dict[str, float]:
    """What the actor of a trial reserves, by Ray's names.

    The workers of a trial that has several reserve their own; their actor only waits for them. Tune
    wants it to ask for something, and any node has a byte.
    """
    return {"memory": 1.0} if launch.has_many_workers else worker_shape(launch)

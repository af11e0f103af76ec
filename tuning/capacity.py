"""How many trials run at a time: what each node has against what a trial asks for. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..platform.configuration.options import Launch
from ..platform.errors import UserError

Resources = Mapping[str, float]


def worker_shape(launch: Launch) -> dict[str, float]:
    """What one worker reserves, by Ray's names."""
    return {"CPU": launch.cpus_per_worker, "GPU": launch.gpus_per_worker}


def slots(node: Resources, shape: Resources) -> int:
    """How many workers of a shape fit a node; resources asked at 0 do not count."""
    asked = {name: amount for name, amount in shape.items() if amount > 0}
    if not asked:
        return 0
    # Ray counts in steps of 1/10,000, so a third of a GPU fits three times in spite of rounding.
    return min(math.floor(node.get(name, 0) / amount + 1e-4) for name, amount in asked.items())


def concurrency(nodes: Sequence[Resources], launch: Launch, limit: int | None = None) -> int:
    """How many trials can run at a time.

    Args:
        nodes: What each living node has, by Ray's names (`CPU`, `GPU`).
        launch: The shape of a trial: workers, and what each reserves.
        limit: The user's own upper limit.

    Raises:
        UserError: Not even one trial fits, with the numbers.
    """
    shape = worker_shape(launch)
    num_slots = sum(slots(node, shape) for node in nodes)
    num_trials = num_slots // max(1, launch.num_workers)
    if num_trials < 1:
        raise _too_large(nodes, launch, num_slots)
    return min(num_trials, limit or num_trials)


def _too_large(nodes: Sequence[Resources], launch: Launch, num_slots: int) -> UserError:
    asked = ", ".join(
        f"{amount:g} {name}" for name, amount in worker_shape(launch).items() if amount
    )
    have = "; ".join(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes)
    wanted = f"{launch.num_workers} worker(s) of {asked or 'nothing'} each"
    return UserError(
        f"`launch` must be a trial that fits, but asks for {wanted}; "
        f"{num_slots} such worker(s) fit on {len(nodes)} node(s) with {have or 'nothing'}.",
        "launch",
        "fewer --cpus-per-worker, --gpus-per-worker or --workers, or a larger cluster (--address)",
    )

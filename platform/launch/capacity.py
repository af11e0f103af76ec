"""What fits a cluster: each node's resources against what the workers of a run ask for. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..configuration.options import Launch
from ..errors import UserError

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


def num_slots(nodes: Sequence[Resources], launch: Launch) -> int:
    """How many workers fit all nodes together.

    Args:
        nodes: What each living node has, by Ray's names (`CPU`, `GPU`).
        launch: What each worker reserves.
    """
    shape = worker_shape(launch)
    return sum(slots(node, shape) for node in nodes)


def check_fits(nodes: Sequence[Resources], launch: Launch, what: str = "run") -> int:
    """Refuse workers that the nodes can never hold together.

    Args:
        nodes: What each living node has.
        launch: How many workers are the least, and what each reserves.
        what: What asks for them, for the message.

    Returns:
        How many such workers fit.

    Raises:
        UserError: They do not fit, with the numbers.
    """
    found = num_slots(nodes, launch)
    if found < max(1, launch.num_workers):
        raise _too_large(nodes, launch, found, what)
    return found


def _too_large(nodes: Sequence[Resources], launch: Launch, found: int, what: str) -> UserError:
    asked = ", ".join(
        f"{amount:g} {name}" for name, amount in worker_shape(launch).items() if amount
    )
    have = "; ".join(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes)
    wanted = f"{launch.num_workers} worker(s) of {asked or 'nothing'} each"
    return UserError(
        f"`launch` must be a {what} that fits, but asks for {wanted}; "
        f"{found} such worker(s) fit on {len(nodes)} node(s) with {have or 'nothing'}.",
        "launch",
        "fewer --cpus-per-worker, --gpus-per-worker or --workers, or a larger cluster (--address)",
    )

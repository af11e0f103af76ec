"""What there is for a sweep: a cluster's nodes, or what Ray would find on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from ...platform.configuration.config import Config
from ...platform.configuration.options import Launch
from ..capacity import concurrency


@dataclass(frozen=True)
class Room:
    """The nodes that trials would run on.

    Args:
        where: `this machine`, or the cluster's address.
        nodes: What each has, by Ray's names.
        width: How many trials run at a time.
        memory_bytes: Memory of the smallest node; 0: unknown.
    """

    where: str
    nodes: list[dict[str, float]]
    width: int
    memory_bytes: int


def room_for(config: Config) -> Room:
    """What a sweep of this config finds; nothing is started.

    Raises:
        UserError: There is no cluster at the address, or not even one trial fits.
    """
    address, launch = config.launch.address, config.launch
    nodes = nodes_here() if address is None else _nodes_at(address)
    width = concurrency(nodes, launch, config.sweep.max_concurrent)
    memory = min((int(node.get("memory", 0)) for node in nodes), default=0)
    return Room(address or "this machine", nodes, width, memory)


def nodes_here() -> list[dict[str, float]]:
    """This machine as Ray would find it, by Ray's own way of counting."""
    from .. import ray_settings as ray_settings

    import psutil  # isort: skip
    from ray._private.accelerators import get_accelerator_manager_for_resource  # isort: skip
    from ray._private.utils import get_num_cpus  # isort: skip

    manager = get_accelerator_manager_for_resource("GPU")
    gpus = manager.get_current_node_num_accelerators() if manager is not None else 0
    memory = psutil.virtual_memory().total
    return [{"CPU": float(get_num_cpus()), "GPU": float(gpus), "memory": float(memory)}]


def _nodes_at(address: str) -> list[dict[str, float]]:
    from ..ray_session import RaySession

    with RaySession(address) as session:
        return session.nodes()


def share_bytes(room: Room, launch: Launch) -> int:
    """Memory that a worker can count on where each node is full of them; 0: unknown."""
    cpus = max(node.get("CPU", 0) for node in room.nodes)
    at_a_time = max(1, int(cpus // launch.cpus_per_worker)) if launch.cpus_per_worker else 1
    return room.memory_bytes // at_a_time

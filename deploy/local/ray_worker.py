"""A worker node that is started by `python -m paceline.deploy.local.ray_worker OPTIONS`.

`ray start` puts a node on all interfaces of a machine, or refuses to join a head that is on the
loopback alone: Ray takes several nodes on one machine for a thing of its own tests. As there
(`ray.cluster_utils`), the node is started through Ray's `Node`; its processes outlive this one.
"""

from __future__ import annotations

import argparse
import os

from ...platform.ports import HOST


def main(words: list[str] | None = None) -> None:
    """Start the node and leave."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    parser = argparse.ArgumentParser()
    for name in ("name", "address", "temp-dir"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("num-cpus", "num-gpus", "memory", "object-store-memory"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args(words)
    parameters = RayParams(
        gcs_address=options.address,
        node_ip_address=HOST,
        node_name=options.name,
        num_cpus=options.num_cpus,
        num_gpus=options.num_gpus,
        memory=options.memory,
        object_store_memory=options.object_store_memory,
        temp_dir=options.temp_dir,
        # Names that Ray finds itself are the same for two nodes that start at a time; those of a
        # node that was killed are still there.
        raylet_socket_name=f"{options.temp_dir}/{os.getpid()}.raylet",
        plasma_store_socket_name=f"{options.temp_dir}/{os.getpid()}.plasma",
        node_manager_port=0,
        # Else all nodes want one port, and the second has no agent, which jobs on it need.
        dashboard_agent_listen_port=0,
        # In one folder for all, a node that unpacks a job's files would delete them under another.
        runtime_env_dir_name=f"runtime_resources_{options.name}",
        min_worker_port=0,
        max_worker_port=0,
        # The head's reads the whole session's logs. Ray says text and means a truth value.
        include_log_monitor=False,  # pyright: ignore[reportArgumentType]
    )
    Node(parameters, head=False, shutdown_at_exit=False, spawn_reaper=False)


if __name__ == "__main__":
    main()

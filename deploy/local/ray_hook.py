"""What `ray start` asks before it starts, named by `RAY_START_HOOK`."""

from __future__ import annotations

from typing import Any


def without_client_server(parameters: Any, head: bool) -> None:
    """Start no server for `ray://`: it is one more door, and jobs are how a cluster is used.

    Args:
        parameters: Ray's `RayParams` of the node.
        head: Whether it is the head.
    """
    if head:
        parameters.ray_client_server_port = None

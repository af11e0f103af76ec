"""Ray for the length of a sweep: as for a run, with what Tune reads at its import set before."""

from __future__ import annotations

from pathlib import Path

from ..platform.configuration.config import Config
from ..platform.errors import UserError, must
from ..platform.storage.location import place_of
from . import ray_settings as ray_settings
from .capacity import concurrency

from ..platform.launch.ray_session import (  # isort: skip - it imports Ray
    OBJECT_STORE_BYTES,
    RaySession,
    hushed,
    quiet_ray,
    ray,
)
from ..platform.launch.storage_probe import check_storage  # isort: skip

__all__ = ["OBJECT_STORE_BYTES", "RaySession", "hushed", "quiet_ray", "ray", "room_for_trials"]


def room_for_trials(session: RaySession, config: Config, folder: Path) -> int:
    """How many trials can run at a time on a cluster all of whose nodes reach the sweep's files.

    Args:
        session: The cluster.
        config: The sweep's config.
        folder: The sweep's folder, which exists.

    Raises:
        UserError: Not even one trial fits, or a node does not reach where the files go.
            Members of a population on several nodes have no common folder.
    """
    nodes = session.nodes()
    if len(nodes) > 1 and config.sweep.scheduler == "pbt" and place_of(config.launch.storage):
        rule = f"a folder that all {len(nodes)} nodes share, for members copy each other's files"
        remedy = "--storage /a/shared/folder, or another --scheduler"
        raise UserError(must("--storage", rule, config.launch.storage), "--scheduler pbt", remedy)
    width = concurrency(nodes, config.launch, config.sweep.max_concurrent)
    check_storage(config, folder, len(nodes))
    return width

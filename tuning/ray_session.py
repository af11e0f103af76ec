"""Ray for the length of a sweep: as for a run, with what Tune reads at its import set before."""

from __future__ import annotations

from . import ray_settings as ray_settings

from ..platform.launch.ray_session import (  # isort: skip - it imports Ray
    OBJECT_STORE_BYTES,
    RaySession,
    hushed,
    quiet_ray,
    ray,
)

__all__ = ["OBJECT_STORE_BYTES", "RaySession", "hushed", "quiet_ray", "ray"]

"""What a loader must know of the run it serves: its seed, and which process of how many this is."""

from __future__ import annotations

import os
from typing import TypedDict

import torch.distributed as dist


def run_seed() -> int:
    """The seed of Lightning's `seed_everything`; 0 without one."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


class ProcessShare(TypedDict):
    """One process of a run: its number, from 0, and how many there are."""

    rank: int
    world_size: int


def process_share() -> ProcessShare:
    """Which process this is; alone, 0 of 1."""
    if not (dist.is_available() and dist.is_initialized()):
        return {"rank": 0, "world_size": 1}
    return {"rank": dist.get_rank(), "world_size": dist.get_world_size()}

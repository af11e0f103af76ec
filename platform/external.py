"""Ranks that something outside has started with this very command: torchrun, or Slurm's srun.

All of them run the whole command. Rank 0 claims the name and keeps the record; the others train
along. They have nothing in common before torch's process group opens, so what they must agree on
before, a seed that nobody gave, is drawn from the job's own name.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

# What a job of several processes is known by: rank, number of processes, of those on this node.
_TORCHRUN = ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
_SLURM = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE")
_JOB = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")


@dataclass(frozen=True)
class Launched:
    """This process among those that were started together.

    Args:
        rank: Its number.
        world_size: How many there are.
        num_local: How many of them are on this node.
    """

    rank: int
    world_size: int
    num_local: int


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """What the launcher says of this process; None when there is none, or it started one alone.

    Args:
        environment: The process's environment variables.
    """
    for job, rank, world_size, num_local in (_TORCHRUN, _SLURM):
        if job in environment and rank in environment and int(environment.get(world_size, 1)) > 1:
            size = int(environment[world_size])
            return Launched(int(environment[rank]), size, int(environment.get(num_local, size)))
    return None


def draw_seed(environment: Mapping[str, str] = os.environ) -> int:
    """A seed nobody knows; one that all ranks draw alike, where there are several."""
    if launched(environment) is None:
        return secrets.randbelow(2**31)
    job = " ".join(environment.get(name, "") for name in _JOB)
    return int.from_bytes(hashlib.sha256(job.encode()).digest()[:4], "big") >> 1

"""What a sweep's configurations take of memory and disk."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from typing import Any

from ...platform.configuration.config import Config
from ...platform.home import runs_folder
from ...platform.storage.location import is_object_store, parse
from .room import Room, share_bytes
from .sizes import LARGER, Size

CHECKPOINTS = 2  # each trial keeps its latest and its best
MAX_TOLD = 5


def much_larger(base: Size, sizes: Sequence[Size]) -> list[dict[str, Any]]:
    """The configurations that are much larger than the recipe, the largest first."""
    limit = LARGER * max(1, base.num_parameters)
    return told([size for size in sizes if size.num_parameters > limit], base)


def too_large(room: Room, config: Config, sizes: Sequence[Size]) -> list[Size]:
    """Those whose weights and optimizer alone exceed the memory that there is for a trial."""
    share = share_bytes(room, config.launch)
    return [size for size in sizes if share and size.state_bytes > share]


def told(sizes: Sequence[Size], base: Size) -> list[dict[str, Any]]:
    """Sizes for `--json`, the largest first, of equal ones a trial's before a corner's."""
    by_size: dict[int, Size] = {}
    for size in sorted(sizes, key=lambda s: s.number is None):
        by_size.setdefault(size.num_parameters, size)
    found = sorted(by_size.values(), key=lambda s: -s.num_parameters)
    return [
        {
            "trial": size.number,
            "values": size.values,
            "parameters": size.num_parameters,
            "state_bytes": size.state_bytes,
            "times": round(size.num_parameters / max(1, base.num_parameters), 1),
        }
        for size in found[:MAX_TOLD]
    ]


def disk(
    config: Config, one: int, parameters: int, trials: Sequence[Size], count: int
) -> dict[str, Any]:
    """What the checkpoints of all trials take, and what is free where they go.

    Args:
        config: The sweep's config.
        one: Size of a checkpoint in bytes.
        parameters: Parameters of the model in it; 0: unknown.
        trials: Sizes of the trials.
        count: How many trials there are.
    """
    mean = float(one)
    if parameters and trials:
        mean = one * statistics.fmean(t.num_parameters for t in trials) / parameters
    storage = config.launch.storage
    needed = {"needed": int(CHECKPOINTS * mean * count), "checkpoint": one}
    if storage and is_object_store(storage):
        return {**needed, "free": None, "folder": parse(storage).plain_uri}
    folder = there = runs_folder(storage)
    while not there.exists():
        there = there.parent
    return {**needed, "free": shutil.disk_usage(there).free, "folder": str(folder)}

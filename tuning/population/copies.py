"""The checkpoint that a copy goes on from, made out of its donor's before it trains.

From then on it is the copy's own, and resumed like that of any other trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...platform.configuration.config import Config
from ...platform.training.checkpoint_file import newest_whole, publish, read
from ...platform.training.checkpoint_names import LATEST
from ...platform.training.checkpoints import Checkpoints
from ...platform.training.fitting import prepare
from .rung_files import rung_file
from .transplant import fresh, length_of, transplanted


def become_copy(
    config: Config, copy: Mapping[str, Any], folder: Path, donor: Path, state_key: str
) -> None:
    """Make the checkpoint that a copy goes on from, unless that was done already.

    Args:
        config: The copy's own config.
        copy: What `lineage.copy_of` says.
        folder: The copy's folder.
        donor: The donor's folder.
        state_key: Where a checkpoint keeps what the trial's reporter knows.

    Raises:
        UserError: The donor's checkpoint is missing or damaged: nothing is trained instead.
    """
    if _num_copies(folder, state_key) >= copy["count"]:
        return
    content = read(rung_file(donor, copy["rung"]), f"trial {copy['donor']:03d}")
    length = length_of(content)
    theirs = fresh(prepare(config.override(copy["donated"])), length)
    made = transplanted(content, theirs, fresh(prepare(config), length))
    worst = math.inf if config.sweep.mode == "min" else -math.inf
    score = copy["best_score"]
    made["callbacks"] = {
        **content["callbacks"],
        # The best checkpoint is of the trial itself, and what it told its sweep is known there.
        Checkpoints.__qualname__: {
            "best_score": worst if score is None else score,
            "best_metrics": dict(copy["best_metrics"]),
        },
        state_key: {"reports": [], "copies": copy["count"], "at": copy["at"]},
    }
    temporary = folder / f".{LATEST}.new"
    torch.save(made, temporary)
    publish(temporary, folder / LATEST)


def _num_copies(folder: Path, state_key: str) -> int:
    """How often the run in a folder had become a copy when it was last saved."""
    path = newest_whole(folder)
    if path is None:
        return 0
    return int(read(path)["callbacks"].get(state_key, {}).get("copies", 0))

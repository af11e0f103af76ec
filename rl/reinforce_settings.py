"""Which settings of REINFORCE go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..lightning_modules.blocks.checks import require, require_one_of

Baseline = Literal["none", "mean", "value"]


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check what no part of REINFORCE checks by itself.

    Args:
        settings: The arguments of `REINFORCE`.

    Raises:
        ValueError: If one is outside its range.
    """
    baseline, updates = settings["baseline"], settings["value_updates"]
    require_one_of("baseline", baseline, ("none", "mean", "value"))
    if updates is not None:
        rule = "left out unless the baseline is `value`"
        require(baseline == "value", "value_updates", rule, updates)
        require(updates >= 1, "value_updates", "at least 1", updates)
    bonus, discount, clip = (
        settings[name] for name in ("entropy_bonus", "discount", "gradient_clip_val")
    )
    require(0 <= bonus < float("inf"), "entropy_bonus", "0 or more", bonus)
    require(0 <= discount <= 1, "discount", "in [0, 1]", discount)
    require(clip is None or clip > 0, "gradient_clip_val", "above 0", clip)
    _check_steps(settings["num_environments"], settings["rollout_steps"], settings["epoch_steps"])


def _check_steps(num_environments: int, rollout_steps: int, epoch_steps: int) -> None:
    require(num_environments >= 1, "num_environments", "at least 1", num_environments)
    # One step of an environment may be no more than its beginning anew; two are not.
    rule = f"a multiple of num_environments ({num_environments}), at least 2 of each"
    steps, rest = divmod(rollout_steps, num_environments)
    require(steps >= 2 and rest == 0, "rollout_steps", rule, rollout_steps)
    rule = f"a multiple of rollout_steps ({rollout_steps})"
    fits = epoch_steps >= 1 and epoch_steps % rollout_steps == 0
    require(fits, "epoch_steps", rule, epoch_steps)

"""Which settings of DQN go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..lightning_modules.blocks.checks import require, require_one_of


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check what no part of DQN checks by itself.

    Args:
        settings: The arguments of `DQN`.

    Raises:
        ValueError: If one is outside its range.
    """
    require_one_of("loss", settings["loss"], ("huber", "squared"))
    at_least_one = ("batch_size", "n_step", "train_every", "gradient_steps", "target_update_every")
    for name in at_least_one:
        require(settings[name] >= 1, name, "at least 1", settings[name])
    for name in ("discount", "priority_exponent", "priority_correction"):
        require(0 <= settings[name] <= 1, name, "in [0, 1]", settings[name])
    require(0 < settings["tau"] <= 1, "tau", "in (0, 1]", settings["tau"])
    clip = settings["gradient_clip_val"]
    require(clip is None or clip > 0, "gradient_clip_val", "above 0", clip)
    batch = settings["batch_size"]
    rule = f"at least batch_size ({batch})"
    require(settings["buffer_size"] >= batch, "buffer_size", rule, settings["buffer_size"])
    # So many come at once where all episodes end in one step.
    most = settings["n_step"] * settings["num_environments"]
    rule = f"at least n_step times num_environments ({most})"
    require(settings["buffer_size"] >= most, "buffer_size", rule, settings["buffer_size"])
    # So long it takes until each environment has a transition to give.
    least = max(batch, (settings["n_step"] + 1) * settings["num_environments"])
    rule = f"at least {least}, so that there is something to learn from"
    require(
        settings["learning_starts"] >= least, "learning_starts", rule, settings["learning_starts"]
    )


def check_run(settings: Mapping[str, Any], precision: Any, world_size: int) -> None:
    """Check what only the run knows.

    Args:
        settings: The arguments of `DQN`.
        precision: The trainer's.
        world_size: How many processes learn together.

    Raises:
        ValueError: If DQN cannot learn so.
    """
    rule = "32-true, in which DQN computes its gradient"
    require(precision == "32-true", "trainer.precision", rule, precision)
    starts = settings["learning_starts"]
    least = (settings["n_step"] + 1) * settings["num_environments"] * world_size
    rule = f"at least {least}, so that each process has something to learn from"
    require(starts >= least, "learning_starts", rule, starts)

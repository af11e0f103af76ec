"""`paceline.sweep`: a sweep from Python, as from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..platform.config import load
from ..platform.runs import changes_of
from .result import SweepResult
from .sweep import run_sweep


def sweep(
    recipe: str,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    **flags: Any,
) -> SweepResult:
    """Search over a recipe's space.

    Args:
        recipe: Catalog name or YAML file.
        name: Name of the sweep; default `RECIPE-YYYYMMDD-n`.
        config: Dotted config keys -> values, `{"trainer.max_epochs": 5}`.
        **flags: The command's short flags with underscores: `trials=8, seed=1, vary=["dropout"]`.

    Returns:
        The trials, the best of them, and a DataFrame through `dataframe()`.

    Raises:
        UserError: The input is wrong; nothing was started.
        RunError: Every trial failed.
    """
    return run_sweep(load(recipe, changes_of("sweep", config, flags)), name=name)

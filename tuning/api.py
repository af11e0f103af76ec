"""`paceline.sweep`, `resume` and `extend`: sweeps from Python, as from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..platform.configuration.config import load
from ..platform.home import read_state
from ..platform.result import RunResult
from ..platform.runs import changes_of
from .result import SweepResult
from .resume import extend_sweep, resume_sweep
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


def resume(
    name: str, *, config: Mapping[str, Any] | None = None, **flags: Any
) -> SweepResult | RunResult:
    """Let an interrupted sweep or run go on where it was.

    Args:
        name: Its name.
        config: Dotted config keys -> values; of a sweep, only how it runs may change.
        **flags: The command's short flags: `storage="..."`.

    Raises:
        UserError: No such name, it is running, has finished, or its files were changed.
    """
    changes = changes_of("resume", config, flags)
    storage = changes.get("launch.storage", (None, ""))[0]
    if read_state(name, storage).get("kind") == "sweep":
        return resume_sweep(name, changes)
    from ..platform.resume_run import resume_run

    return resume_run(name, storage)


def extend(
    name: str, trials: int, *, config: Mapping[str, Any] | None = None, **flags: Any
) -> SweepResult:
    """Add trials to a sweep; its searcher is told of those it has.

    Args:
        name: The sweep's name.
        trials: How many more.
        config: As in `resume`.
        **flags: As in `resume`.

    Raises:
        UserError: As in `resume`, or the search has no more configurations.
    """
    return extend_sweep(name, trials, changes_of("extend", config, flags))

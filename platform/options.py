"""The sections of a config that are ours, beside LightningCLI's: `launch`, `tracking`, `sweep`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class Launch:
    """Where and how wide a run or a trial is.

    Args:
        num_workers: Worker processes of one run; 1 trains in the process itself.
        address: A Ray cluster's address (`auto`, `host:6379`); none starts Ray on this machine.
        storage: Folder for checkpoints and state; default `$PACELINE_HOME/runs`.
        cpus_per_worker: CPU cores that one worker reserves.
        gpus_per_worker: GPUs that one worker reserves; a fraction shares one.
    """

    num_workers: int = 1
    address: str | None = None
    storage: str | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0


@dataclass
class Tracking:
    """Where the record goes.

    Args:
        uri: `sqlite:////absolute/file.db`, `postgresql://...` or `http(s)://...`;
            default `$PACELINE_HOME/mlflow.db`.
        experiment: MLflow experiment; default: the recipe's name.
        tags: Extra tags for each run.
        log_model: Log the best checkpoint as an MLflow model too (`fit` only; a trial never does).
    """

    uri: str | None = None
    experiment: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    log_model: bool = True


@dataclass
class Sweep:
    """What is searched, by which rule, within which budget.

    Args:
        metric: Name of the metric that decides, logged at each validation.
        mode: Whether a small (`min`) or a large (`max`) metric is better.
        trials: How many configurations are tried (`grid`: at most).
        max_epochs: Budget in epochs over all trials together; none: no limit.
        max_time_s: Budget in seconds of wall time; none: no limit.
        search: How configurations are proposed.
        scheduler: How bad trials are stopped early.
        grace_epochs: ASHA stops no trial before this epoch.
        reduction_factor: ASHA keeps one of this many trials at each rung.
        max_concurrent: Upper limit for trials at a time; none: as many as fit.
        vary: Knobs or keys of the space to vary; the others keep the recipe's value. Empty: all.
        space: Knob name or dotted key -> distribution, as data.
    """

    metric: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    trials: int = 16
    max_epochs: int | None = None
    max_time_s: float | None = None
    search: Literal["random", "grid"] = "random"
    scheduler: Literal["asha", "none"] = "asha"
    grace_epochs: int = 1
    reduction_factor: int = 3
    max_concurrent: int | None = None
    vary: list[str] = field(default_factory=list)
    space: dict[str, Any] = field(default_factory=dict)

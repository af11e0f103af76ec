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
        objectives: Further metrics to trade off against it, name -> `min` or `max`; `tpe` then
            looks for the Pareto front. `num_parameters` and `seconds` are known for every trial.
        trials: How many configurations are tried (`grid`: at most).
        max_epochs: Budget in epochs over all trials together; none: no limit.
        max_time_s: Budget in seconds of wall time; none: no limit.
        trial_time_s: Seconds that one trial may take; none: no limit.
        search: How configurations are proposed: `random`, `grid`, `tpe`, or the import path of a
            `ray.tune.search` class.
        search_args: Arguments of that searcher.
        points: Knob values to try first, one mapping a trial; knobs left out are proposed.
        like: Name of an earlier sweep whose best configurations are tried first.
        scheduler: How bad trials are stopped early.
        grace: No trial is stopped before it has come so far on the time axis; none: the horizon
            over the square of `reduction_factor`, which leaves two rungs.
        reduction_factor: One of this many trials goes on at each rung.
        in_order: Compare a trial only with those before it, waiting for them where it must: the
            sweep is then the same at any number of workers and after any interruption. False:
            compare it with whoever came to the rung before it, and never wait.
        time_axis: What the rungs count: `epoch`, `step`, or a metric that only grows; none: what
            the module says (`time_axis`), else the epoch.
        horizon: The time axis' end; none: the trainer's `max_epochs` or `max_steps`.
        max_concurrent: Upper limit for trials at a time; none: as many as fit.
        pictures: Whose runs get their family's pictures: the `best` trial's, or those of `all`
            that ran to their end, which takes each half a second.
        winner_seeds: The best configuration is trained again with this many seeds at the end.
        vary: Knobs or keys of the space to vary; the others keep the recipe's value. Empty: all.
        space: Knob name or dotted key -> distribution, as data.
    """

    metric: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    objectives: dict[str, Literal["min", "max"]] = field(default_factory=dict)
    trials: int = 16
    max_epochs: int | None = None
    max_time_s: float | None = None
    trial_time_s: float | None = None
    search: str = "random"
    search_args: dict[str, Any] = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)
    like: str | None = None
    scheduler: Literal["asha", "hyperband", "median", "none"] = "asha"
    grace: float | None = None
    reduction_factor: int = 3
    in_order: bool = True
    time_axis: str | None = None
    horizon: float | None = None
    max_concurrent: int | None = None
    pictures: Literal["best", "all"] = "best"
    winner_seeds: int = 0
    vary: list[str] = field(default_factory=list)
    space: dict[str, Any] = field(default_factory=dict)

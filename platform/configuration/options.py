"""The sections of a config that are ours, beside LightningCLI's: `launch`, `tracking`, `sweep`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import UserError, must


@dataclass
class Launch:
    """Where and how wide a run or a trial is.

    Args:
        num_workers: Worker processes of one run on Ray; 1 trains in the process itself. Each has
            its own batch of `data.batch_size`; gradients are averaged, the learning rate stays as
            it is.
        max_workers: Take up to so many where there is room for more than `num_workers`; the flag
            says both, `--workers 2:4`.
        address: A Ray cluster's address (`auto`, `host:6379`); none starts Ray on this machine.
        storage: Folder for checkpoints and state; default `$PACELINE_HOME/runs`. On a cluster of
            several nodes it is one that all of them share, or `s3://bucket/prefix`: checkpoints and
            a copy of the state go there, from a folder of each node's own.
        cpus_per_worker: CPU cores that one worker reserves.
        gpus_per_worker: GPUs that one worker reserves; a fraction shares one.
        max_failures: How often a trial of a sweep, or a run of several workers, starts again from
            its latest checkpoint after a process of it has died. An exception of the model's is
            not tried again, and a worker that was told in time that it has to go does not count.
        hang_timeout_s: Seconds that a run of several workers may stand still, counted from its
            first batch on, before the workers that hold it up are named and it starts again as if
            they had died; 0: for ever. A batch or a checkpoint must not take longer.
        save_every_n_epochs: A checkpoint after every so many epochs, and after the last.
        save_every_n_steps: A checkpoint after every so many optimizer steps too; none: only after
            epochs.
    """

    num_workers: int = 1
    max_workers: int | None = None
    address: str | None = None
    storage: str | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    max_failures: int = 3
    hang_timeout_s: float = 600.0
    save_every_n_epochs: int = 1
    save_every_n_steps: int | None = None

    @property
    def most_workers(self) -> int:
        """How many workers a run takes at most."""
        return max(self.num_workers, self.max_workers or 0)

    @property
    def has_many_workers(self) -> bool:
        """Whether a run is trained by workers on Ray, not by the process itself."""
        return self.most_workers > 1


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
class Population:
    """How a population evolves under `sweep.scheduler: pbt`.

    Args:
        interval: From one comparison to the next, on the time axis; none: a tenth of the horizon.
        quantile: The worst share, whose members copy one of the best share of the same size.
        resample: Probability that a hyperparameter is drawn anew after a copy, not perturbed.
        factors: A perturbed number is multiplied with one of these.
        mutate: Knobs that change on the way; empty: all that can.
    """

    interval: float | None = None
    quantile: float = 0.2
    resample: float = 0.25
    factors: list[float] = field(default_factory=lambda: [0.8, 1.2])
    mutate: list[str] = field(default_factory=list)


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
        scheduler: How bad trials are stopped early, or `pbt`: they copy good ones.
        population: How they do, under `pbt`; the population is as large as `trials`.
        grace: No trial is stopped before it has come so far on the time axis; none: the horizon
            over the square of `reduction_factor`, which leaves two rungs.
        reduction_factor: One of this many trials goes on at each rung.
        in_order: Compare a trial only with those before it, waiting for them where it must: the
            sweep is then the same at any number of workers and after any interruption. False:
            compare it with whoever came to the rung before it, and never wait.
        nan: What becomes of a trial whose training loss or score is no finite number: it ends
            there (`stop`), counts as failed (`fail`), or `go_on`. Under `pbt`, `stop` lets it wait
            for the next comparison and copy a better one.
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
    scheduler: Literal["asha", "hyperband", "median", "pbt", "none"] = "asha"
    population: Population = field(default_factory=Population)
    grace: float | None = None
    reduction_factor: int = 3
    in_order: bool = True
    nan: Literal["stop", "fail", "go_on"] = "stop"
    time_axis: str | None = None
    horizon: float | None = None
    max_concurrent: int | None = None
    pictures: Literal["best", "all"] = "best"
    winner_seeds: int = 0
    vary: list[str] = field(default_factory=list)
    space: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take the nested section as plain data, too."""
        if isinstance(self.population, dict):
            self.population = Population(**self.population)


def split_range(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of a config with `launch.num_workers: 2:4` taken apart into its two keys.

    Raises:
        UserError: The ends are no counts, or the first is the larger.
    """
    given = changes.get("launch.num_workers")
    ends = str(given).split(":")
    if len(ends) == 1:
        return dict(changes)
    low, high = (int(end) if end.isdecimal() else 0 for end in (ends[0], ends[-1]))
    if len(ends) > 2 or not 1 <= low <= high:
        rule = "an integer >= 1, or MIN:MAX as in 2:4"
        raise UserError(must("launch.num_workers", rule, given), "--workers")
    return {**changes, "launch.num_workers": low, "launch.max_workers": high}

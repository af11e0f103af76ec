"""`--seeds N`: the same run with N seeds, and what their metrics say together."""

from __future__ import annotations

import math
import statistics
import time
from pathlib import Path

from scipy.stats import t as student_t

from .configuration.config import Config
from .home import claim, write_atomic, write_state
from .joining import is_joining
from .result import RunResult
from .runs import fit_config, open_store
from .signals import Interrupted, interruptible
from .tracking.store import Store
from .tracking.writer import MetricWriter
from .training.fitting import prepare


def mean_and_interval(values: list[float], confidence: float = 0.95) -> tuple[float, float]:
    """Mean and half-width of its confidence interval, by Student's t.

    Args:
        values: At least one value.
        confidence: Share of such intervals that hold the true mean.

    Returns:
        The mean, and the half-width (NaN for a single value).
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan
    error = statistics.stdev(values) / math.sqrt(len(values))
    return mean, float(student_t.ppf((1 + confidence) / 2, len(values) - 1)) * error


def fit_seeds(
    config: Config, num_seeds: int, *, name: str | None = None, command: str = ""
) -> RunResult:
    """Train with the seeds s, s+1, ... as child runs under one parent.

    Args:
        config: The config; its seed is the first.
        num_seeds: How many runs.
        name: Name of the parent; children are `NAME-seed7`.
        command: The command line, for the notes.

    Returns:
        Mean of each metric and, as `METRIC_ci95`, the half-width of its 95 % interval; `extra`
        lists the runs. The checkpoint is that of the run whose deciding metric is best.
    """
    storage = config.launch.storage
    if is_joining():
        return fit_config(config)
    started = time.monotonic()
    prepare(config, ckpt_path=config.get("ckpt_path"))  # checks before anything is made
    with claim(name, storage, recipe=config.recipe) as folder, interruptible():
        name = folder.name
        store = open_store(config).keep_in(folder)
        run_id = store.create_run(name, tags=config.tracking.tags, params=config.resolved)
        result = RunResult(name, run_id, "running", {}, None, store.uri, 0.0, store.link(run_id))
        runs: list[RunResult] = []
        write_atomic(folder / "config.yaml", config.text())
        try:
            for seed in range(config.seed or 0, (config.seed or 0) + num_seeds):
                one = config.override({"seed_everything": seed}, "--seeds")
                child = f"{name}-seed{seed}"
                runs.append(fit_config(one, name=child, command=command, parent=run_id))
            result.status = "finished"
        except Interrupted as interruption:
            result.status = "killed"
            interruption.result = result  # type: ignore[attr-defined]
            raise
        except BaseException:
            result.status = "failed"
            raise
        finally:
            _summarise(result, runs, config)
            result.seconds = time.monotonic() - started
            _log(store, result, folder)
            state = {"kind": "seeds", "recipe": config.recipe, "experiment": store.experiment}
            write_state(folder, state | result.as_dict() | {"tracking_uri": store.uri})
    return result


def _summarise(result: RunResult, runs: list[RunResult], config: Config) -> None:
    for metric in runs[0].metrics if runs else ():
        mean, half_width = mean_and_interval(
            [r.metrics[metric] for r in runs if metric in r.metrics]
        )
        result.metrics[metric] = mean
        result.metrics[f"{metric}_ci95"] = half_width
    pick = min if config.sweep.mode == "min" else max
    scored = [r for r in runs if config.sweep.metric in r.metrics]
    if scored:
        result.checkpoint = pick(scored, key=lambda r: r.metrics[config.sweep.metric]).checkpoint
    result.extra = {"runs": [run.as_dict() for run in runs]}


def _log(store: Store, result: RunResult, folder: Path) -> None:
    writer = MetricWriter(store.uri, result.run_id, folder)
    writer.add({k: v for k, v in result.metrics.items() if not math.isnan(v)}, 0)
    writer.close()
    assert result.status != "running"
    store.finish(
        result.run_id,
        result.status,
        stop_reason="completed" if result.status == "finished" else None,
    )

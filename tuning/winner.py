"""The best trial of a sweep: its config as a file, its pictures, and its seeds.

The score of the best of many trials is flattered by the choice. So its configuration is trained
again with seeds that no trial has had, and measured on the test set.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..platform.configuration.config import Config
from ..platform.evaluation import evaluate
from ..platform.home import write_atomic
from ..platform.repeat import mean_and_interval
from ..platform.tracking.artifacts import finish_artifacts
from ..platform.tracking.writer import MetricWriter
from ..platform.training import fitting as training
from ..platform.training.checkpoint_names import BEST
from .course import Course
from .retrained import run_name, train_again
from .rows import TrialRow
from .trial_folder import folder_of


def config_of(course: Course, row: TrialRow) -> Config:
    """The config that a trial trained with when it was at its best."""
    values = row.best_values or row.values
    changes = {**course.plan.space.assignments(values), "seed_everything": row.seed}
    return course.plan.config.override(changes)


def keep_config(course: Course, row: TrialRow) -> Path:
    """Write a trial's config beside its checkpoints; `test` and `predict` read it."""
    path = folder_of(course.folder, row.number) / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, config_of(course, row).text())
    return path


def draw_best(course: Course, row: TrialRow) -> None:
    """Draw the best trial from its best checkpoint into its run."""
    checkpoint = folder_of(course.folder, row.number) / BEST
    if not checkpoint.exists():
        return
    config = config_of(course, row)
    built = training.prepare(config)
    training.evaluate(config, built, "validate", str(checkpoint))
    finish_artifacts(course.store, row.run_id, built.model, checkpoint=str(checkpoint))


def train_winner(course: Course, row: TrialRow, check: Callable[[], None]) -> dict[str, Any]:
    """Train the best configuration with more seeds, and measure each on the test set.

    Args:
        course: The sweep; `sweep.winner_seeds` says how many.
        row: Its best trial.
        check: Called before each seed; raises when the sweep is to end.

    Returns:
        `seeds`, `runs`, and `metrics`: name -> [mean, half-width of its 95 % interval].
    """
    config = config_of(course, row)
    seeds = winner_seeds(course.plan.seed, config.sweep.winner_seeds)
    values: dict[str, list[float]] = {}
    runs = []
    for seed in seeds:
        check()
        name = run_name(course.name, row.trial_id, seed)
        metrics = _train_and_test(config.override({"seed_everything": seed}), name, course.run_id)
        runs.append(name)
        for metric, value in metrics.items():
            values.setdefault(metric, []).append(value)
    metrics = {name: [*mean_and_interval(found)] for name, found in sorted(values.items())}
    writer = MetricWriter(course.store.uri, course.run_id, course.folder)
    writer.add({f"winner/{name}": mean for name, (mean, _) in metrics.items()}, len(seeds))
    writer.close()
    return {"seeds": seeds, "runs": runs, "metrics": metrics}


def winner_seeds(seed: int, count: int) -> list[int]:
    """Small seeds behind the sweep's own; the trials' seeds are drawn from two billion."""
    return [seed + 1 + number for number in range(count)]


def _train_and_test(config: Config, name: str, parent: str) -> dict[str, float]:
    """One seed's validation and test metrics."""
    storage = config.launch.storage
    metrics = dict(train_again(config, name, parent).get("metrics") or {})
    changes = {"launch.storage": (storage, "launch.storage")} if storage else {}
    tested = evaluate(name, "test", changes=changes).metrics
    return {name: value for name, value in {**metrics, **tested}.items() if name != "lr"}

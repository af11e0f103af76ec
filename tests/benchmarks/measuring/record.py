"""MLflow's store of one side: made ready before the clock starts, read back after it stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mlflow.tracking import MlflowClient
from paceline.platform.tracking.store import Store

PARENT = "mlflow.parentRunId"


def make_store(folder: Path, experiment: str) -> str:
    """Create a store and its experiment in a folder.

    Both sides get the same one: a SQLite file with a write-ahead log. MLflow would create it when
    a process first opens it, and two processes that do so at once fail.

    Returns:
        Its URI.
    """
    uri = f"sqlite:///{folder}/mlflow.db"
    Store(uri, experiment).open()
    return uri


def check_record(
    uri: str, experiment: str, points: Iterable[int], names: Mapping[str, int]
) -> None:
    """Fail unless every trial is there, ended, with every point of its metrics.

    Args:
        uri: The store.
        experiment: The experiment of the trials.
        points: How many epochs each trial had.
        names: Metric -> how many of a trial's epochs may lack it.
    """
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None, f"no experiment {experiment}"
    runs = client.search_runs([found.experiment_id], max_results=1000)
    if any(PARENT in run.data.tags for run in runs):  # ours has a run for the sweep as well
        runs = [run for run in runs if PARENT in run.data.tags]
    wanted = sorted(points)
    assert len(runs) == len(wanted), f"{len(runs)} runs for {len(wanted)} trials"
    endless = [run.info.run_name for run in runs if run.info.status != "FINISHED"]
    assert not endless, f"runs without a good end: {endless}"
    for name, missing in names.items():
        counts: list[tuple[int, str]] = []
        for run in runs:
            history = client.get_metric_history(run.info.run_id, name)
            counts.append((len({point.step for point in history}), str(run.info.run_name)))
        for (count, trial), epochs in zip(sorted(counts), wanted, strict=True):
            told = f"{trial} has {count} points of {name} for {epochs} epochs"
            assert epochs - missing <= count <= epochs, told

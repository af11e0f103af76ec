"""What each write of a run means in MLflow; every one may be made twice and has one effect.

That is how an answer that was lost after the write had happened does no harm: the write is made
again. MLflow's stores keep a metric point under its run, name, step, time, value and whether it is
NaN, all of them the primary key, and leave out of a batch what they have; our points get their time
when they are logged, not when they are sent. Tags are set, a param that is there with its value is
left alone, files overwrite themselves, data sets and models are looked up first.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .client import (
    MAX_PARAMS,
    Metric,
    MlflowClient,
    MlflowException,
    Param,
    RunTag,
    connect,
)
from .model_upload import upload_model
from .pictures import learning_curves
from .spool import Write

REOPENING = "paceline.reopening"

# What no later try can change. Anything else may pass: a server that starts answers with anything.
_FOR_GOOD = ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS")


class Target(NamedTuple):
    """Where a run's writes go.

    Args:
        uri: What `resolve_uri` returned.
        run_id: The run.
        files: The folder in which the files lie that writes name; it need not exist.
    """

    uri: str
    run_id: str
    files: Path

    @property
    def client(self) -> MlflowClient:
        """MLflow's client of the store."""
        return connect(self.uri)


class Refused(Exception):
    """The store will never take a write."""


def deliver(target: Target, write: Write) -> None:
    """Make one write.

    Raises:
        Refused: It will never be taken.
        Exception: The store did not take it now: an MLflow error, or one of whatever holds files.
    """
    try:
        _HOW[write.op](target, **write.content)
    except MlflowException as error:
        if error.error_code in _FOR_GOOD and _is_there(target):
            raise Refused(str(error)) from error
        raise


def _is_there(target: Target) -> bool:
    """Whether the run takes writes at all: one that was deleted may be restored."""
    return target.client.get_run(target.run_id).info.lifecycle_stage == "active"


def _metrics(target: Target, points: list[list[Any]]) -> None:
    """Points, each `[name, value, time in ms, step]`; at most 1,000."""
    rows = [Metric(name, value, time_ms, step) for name, value, time_ms, step in points]
    target.client.log_batch(target.run_id, metrics=rows)


def _params(target: Target, params: Mapping[str, str]) -> None:
    """Params; one that has another value in the store keeps it, and the new one becomes a tag."""
    there = target.client.get_run(target.run_id).data.params
    rows = [Param(name, value) for name, value in params.items() if name not in there]
    for start in range(0, len(rows), MAX_PARAMS):
        target.client.log_batch(target.run_id, params=rows[start : start + MAX_PARAMS])
    if changed := {name: v for name, v in params.items() if there.get(name, v) != v}:
        _tags(target, changed)


def _tags(target: Target, tags: Mapping[str, str]) -> None:
    rows = [RunTag(name, value) for name, value in tags.items()]
    target.client.log_batch(target.run_id, tags=rows)


def _inputs(target: Target, dataset: Mapping[str, Any], context: str) -> None:
    """A data set; MLflow looks it up and then inserts it, so two trials can collide there."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    given = DatasetInput(Dataset(**dataset), [InputTag("mlflow.data.context", context)])
    for wait_s in (0.02, 0.1, 0.5, None):
        try:
            return target.client.log_inputs(target.run_id, [given])
        except MlflowException as error:
            # SQLite says "UNIQUE constraint failed", PostgreSQL "violates unique constraint".
            if wait_s is None or "unique" not in str(error).lower():
                raise
            time.sleep(wait_s)
    return None


def _artifact(target: Target, file: str, sha256: str, folder: str | None) -> None:
    """A file, which is deleted once it has arrived."""
    path = _waiting_file(target, file)
    with path.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
            raise Refused(f"the file {path} is not what was to be sent")
    target.client.log_artifact(target.run_id, str(path), folder)
    shutil.rmtree(path.parent, ignore_errors=True)


def _waiting_file(target: Target, file: str) -> Path:
    """A file that a write names; only a plain one in a folder of its own under `files`."""
    parts = Path(file).parts
    path = target.files.joinpath(*parts)
    if len(parts) != 2 or ".." in parts or path.parent.is_symlink() or path.is_symlink():
        raise Refused(f"`file` must name a file of the spool, but is {file!r}")
    if not path.exists():
        raise Refused(f"the file {path} is gone")
    return path


def _curves(target: Target) -> None:
    """The learning curves, from the metrics that have arrived by now."""
    figure = learning_curves(metric_histories(target))
    if figure is not None:
        target.client.log_figure(target.run_id, figure, "figures/learning_curves.png")


def metric_histories(target: Target) -> dict[str, list[tuple[int, float]]]:
    """Metric -> its (step, value) points in the order of the steps, system metrics left out."""
    client, run_id = target.client, target.run_id
    names = [n for n in client.get_run(run_id).data.metrics if not n.startswith("system/")]
    histories = {name: client.get_metric_history(run_id, name) for name in names}
    return {
        name: sorted((point.step, point.value) for point in history)
        for name, history in histories.items()
    }


def _model(target: Target, file: str) -> None:
    path = _waiting_file(target, file)
    upload_model(target.client, target.run_id, path)
    shutil.rmtree(path.parent, ignore_errors=True)


def _reopen(target: Target, mark: str) -> None:
    """The run is RUNNING again in its next attempt; the mark says that this was done."""
    client, run_id = target.client, target.run_id
    tags = client.get_run(run_id).data.tags
    if tags.get(REOPENING) == mark:
        return
    client.update_run(run_id, status="RUNNING")
    for stale in {"stop_reason", "exception"} & tags.keys():
        client.delete_tag(run_id, stale)
    attempt = int(tags.get("attempt", "1")) + 1
    _tags(target, {"attempt": str(attempt), REOPENING: mark})


def _end(target: Target, status: str, time_ms: int) -> None:
    target.client.set_terminated(target.run_id, status, time_ms)


_HOW: dict[str, Callable[..., None]] = {
    "metrics": _metrics,
    "params": _params,
    "tags": _tags,
    "inputs": _inputs,
    "artifact": _artifact,
    "curves": _curves,
    "model": _model,
    "reopen": _reopen,
    "end": _end,
}


def merge(writes: list[Write], most: int) -> tuple[list[Write], Write]:
    """The metrics at the head of a queue as one write, so that a long outage is made good quickly.

    Args:
        writes: At least one, in their order.
        most: The number of points that one write may have.

    Returns:
        The writes that the second stands for, and that write.
    """
    head, points = writes[0], []
    taken: list[Write] = []
    for write in writes:
        if write.op != "metrics" or (taken and len(points) + len(write.content["points"]) > most):
            break
        taken.append(write)
        points += write.content["points"]
    if not taken:
        return [head], head
    return taken, head._replace(content={"points": points})

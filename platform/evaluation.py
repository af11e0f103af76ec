"""`validate`, `test` and `predict`: a trained run by its name, or a recipe with a checkpoint.

They never run on random weights: a name stands for its best checkpoint, a recipe needs one, unless
its model is trained once it is built and says so with `brings_weights` (an ensemble of checkpoints,
published weights).
"""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities.model_helpers import is_overridden

from .catalog import entries
from .configuration.classes import load_class
from .configuration.config import Config, load
from .errors import UserError, failed, must, unknown
from .home import NAME, free_name, home, names, read_state, run_folder, runs_folder, write_atomic
from .result import RunResult
from .runs import open_store
from .signals import interruptible
from .storage.going_on import local_copy
from .storage.location import is_object_store
from .storage.run_in_store import refresh
from .tracking.logger import RunLogger
from .tracking.store import Store
from .tracking.uri import resolve_uri
from .tracking.writer import MetricWriter
from .training import fitting as training
from .training.building import Built

# A run may have trained in several processes.
_ALONE = {"trainer.devices": 1, "trainer.num_nodes": 1, "trainer.strategy": "auto"}

Changes = Mapping[str, tuple[Any, str]]


def evaluate(
    target: str,
    stage: str,
    *,
    changes: Changes | None = None,
    files: tuple[str, ...] = (),
    name: str | None = None,
) -> RunResult:
    """Measure a trained model; the metrics join the run that trained it.

    Args:
        target: Name of a run or sweep (its best trial), or a recipe, with `ckpt_path` changed.
        stage: `validate` or `test`.
        changes: Config changes laid over the run's own config.
        files: YAML files laid over it before.
        name: Name of the new run of a recipe.

    Raises:
        UserError: No such name, no checkpoint, or a broken one.
    """
    started = time.monotonic()
    config, checkpoint, result = find_trained(target, changes or {}, files, name)
    with interruptible():
        built = prepare_alone(config, checkpoint)
        _check_step(built, stage, target)
        store = open_store(config)
        if (folder := run_folder(result.name, config.launch.storage)).exists():
            store.keep_in(folder)
        with _recorded(store, result, config) as writer:
            logger = RunLogger(writer, result.name)
            result.metrics = training.evaluate(config, built, stage, checkpoint or None, logger)
    return finished(result, store, started)


def _check_step(built: Built, stage: str, target: str) -> None:
    """Refuse a module that does not say how it is measured.

    Raises:
        UserError: Its method is missing.
    """
    step = {"validate": "validation_step", "test": "test_step"}[stage]
    if not is_overridden(step, built.model):
        what = f"`{type(built.model).__name__}` must have a `{step}` to be measured, but has none."
        raise UserError(what, target, f"write one, or: paceline predict {target}")


@contextlib.contextmanager
def _recorded(store: Store, result: RunResult, config: Config) -> Iterator[MetricWriter]:
    """A writer into the run that trained the model, or into a run of its own, which is ended."""
    is_new = not result.run_id
    result.run_id = result.run_id or store.create_run(result.name, params=config.resolved)
    writer = MetricWriter(store.uri, result.run_id, store.outlet.folder)
    status, error = "killed", None
    try:
        yield writer
        status = "finished"
    except Exception as caught:  # whatever the module raises
        status, error = "failed", caught
        raise failed(caught) from caught
    finally:
        writer.close()
        if is_new:
            reason = "completed" if status == "finished" else None
            store.finish(result.run_id, status, stop_reason=reason, error=error)


def predict(
    target: str,
    *,
    changes: Changes | None = None,
    files: tuple[str, ...] = (),
    name: str | None = None,
) -> RunResult:
    """Write a trained model's predictions as CSV, a row for each example.

    Args:
        target: As in `evaluate`.
        changes: As in `evaluate`.
        files: As in `evaluate`.
        name: As in `evaluate`.

    Returns:
        The result; `extra` has `predictions`, the file's path, and `count`.
    """
    started = time.monotonic()
    config, checkpoint, result = find_trained(target, changes or {}, files, name)
    with interruptible():
        built = prepare_alone(config, checkpoint)
        try:
            batches = training.predict(config, built, checkpoint or None)
        except Exception as caught:  # whatever the module raises
            raise failed(caught) from caught
        folder = run_folder(result.name, config.launch.storage)
        folder = folder if folder.is_dir() else Path.cwd()
        path = folder / f"{result.name}-predictions.csv"
        result.extra = {"predictions": str(path), "count": _write(path, batches)}
    return finished(result, None, started)


def prepare_alone(config: Config, checkpoint: str) -> Built:
    """Build for one process: of several, each would see and write a part of the data only.

    Raises:
        UserError: The config asks for several, or there are no weights to load.
    """
    built = training.prepare(config, ckpt_path=checkpoint, resumes=False)
    if not checkpoint and not getattr(built.model, "brings_weights", False):
        raise _no_checkpoint(config.recipe)
    if built.world_size != 1:
        raise UserError(
            must("trainer.devices", "1 to measure or predict", built.world_size),
            config.where("trainer.devices"),
        )
    return built


def finished(result: RunResult, store: Store | None, started: float) -> RunResult:
    """The result, ended: of a recording verb with the link to its run."""
    result.status, result.seconds = "finished", time.monotonic() - started
    if store is not None and not result.link:
        result.link = store.link(result.run_id)
    return result


def find_trained(
    target: str, changes: Changes, files: tuple[str, ...], name: str | None
) -> tuple[Config, str, RunResult]:
    """The config and the checkpoint behind a name or a recipe, and a result to be filled.

    Raises:
        UserError: No such name, or no checkpoint.
    """
    changes = dict(changes)
    given = changes.pop("ckpt_path", (None, ""))[0]
    storage = changes.get("launch.storage", (None, ""))[0]
    if NAME.fullmatch(target):
        refresh(storage, run_folder(target, storage), write_atomic)
    if target in names(storage):
        state = read_state(target, storage)
        source = state.get("best") or state  # a sweep stands for its best trial
        checkpoint = given or _on_this_disk(source.get("checkpoint"), storage, state)
        folder = run_folder(target, storage)
        config_file = source.get("config_file") or str(folder / "config.yaml")
        run_id = source["run_id"]
        for key, name_of in (
            ("tracking.uri", "tracking_uri"),
            ("tracking.experiment", "experiment"),
        ):
            if name_of in state:
                changes.setdefault(key, (state[name_of], target))
    elif target in entries("recipes") or target.endswith((".yaml", ".yml")):
        checkpoint, config_file, run_id = given, target, ""
    else:
        raise unknown("NAME", target, [*names(storage), *entries("recipes")])
    config = load(config_file, changes, files)
    if not checkpoint and not _may_bring_weights(config):
        raise _no_checkpoint(target, is_run=bool(run_id))
    alone = {k: v for k, v in _ALONE.items() if k not in config.origins}
    config = config.override(alone, target)
    name = name or (target if run_id else free_name(config.recipe, storage))
    uri = resolve_uri(config.tracking.uri, home())
    return (
        config,
        str(checkpoint or ""),
        RunResult(name, run_id, "running", {}, checkpoint and str(checkpoint), uri, 0.0),
    )


def _on_this_disk(
    checkpoint: str | None, storage: str | None, state: Mapping[str, Any]
) -> str | None:
    """A run's checkpoint as a file, which an object store may have to be asked for."""
    if not checkpoint or not is_object_store(checkpoint):
        return checkpoint
    return str(local_copy(checkpoint, storage or state["storage"], runs_folder(storage)))


def _may_bring_weights(config: Config) -> bool:
    return hasattr(load_class(config.resolved["model"]["class_path"], "model"), "brings_weights")


def _no_checkpoint(target: str, *, is_run: bool = False) -> UserError:
    if is_run:
        what = f"`{target}` must have a checkpoint, but has none."
        remedy = f"paceline resume {target}, or see what became of it: paceline show {target}"
        return UserError(what, target, remedy)
    return UserError(
        "`--ckpt_path` must be given where no run has a checkpoint, but is missing.",
        target,
        f"train first: paceline fit {target}",
    )


def _write(path: Path, batches: list[Any]) -> int:
    """Write predictions as CSV and return how many there are."""
    count = 0
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        for batch in batches:
            columns = _columns(batch)
            if count == 0:
                writer.writerow(["index", *columns])
            rows = list(zip(*columns.values(), strict=True))
            writer.writerows([count + i, *row] for i, row in enumerate(rows))
            count += len(rows)
    return count


def _columns(batch: Any) -> dict[str, list[Any]]:
    """Column -> a number for each example, whatever shape `predict_step` returned them in."""
    if not isinstance(batch, Mapping):
        parts = list(batch) if isinstance(batch, (list, tuple)) else [batch]
        batch = {f"output{i}" if len(parts) > 1 else "output": part for i, part in enumerate(parts)}
    columns = {}
    for name, part in batch.items():
        if isinstance(part, (list, tuple)) and all(isinstance(one, str) for one in part):
            columns[name] = list(part)
            continue
        values = torch.as_tensor(part).detach().cpu()
        flat = values.reshape(len(values), -1)  # (B, values of this part)
        for i in range(flat.shape[1]):
            columns[name if flat.shape[1] == 1 else f"{name}_{i}"] = flat[:, i].tolist()
    return columns

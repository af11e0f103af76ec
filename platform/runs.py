"""`paceline.fit`: claim a name, prepare, record, train, tell how it ended."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .configuration.config import Config, load
from .errors import PacelineError, RunError, UserError, failed, must
from .home import claim, home, write_atomic, write_state
from .joining import as_launched, follow, is_joining, joinable
from .launch.recorded import train
from .progress import EpochProgress
from .result import RunResult
from .run_context import told
from .signals import Interrupted, interruptible
from .storage.going_on import best_address
from .storage.location import place_of
from .tracking.store import Store
from .tracking.uri import resolve_uri
from .training import fitting as training
from .training.building import Built
from .training.checkpoint_names import BEST
from .verbs import VERBS

logger = logging.getLogger("paceline.runs")


def fit(
    recipe: str,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    **flags: Any,
) -> RunResult:
    """Train a recipe once.

    Args:
        recipe: Catalog name or YAML file.
        name: Name of the run; default `RECIPE-YYYYMMDD-n`.
        config: Dotted config keys -> values, `{"optimizer.lr": 3e-4}`.
        **flags: The command's short flags with underscores: `seed=1`, `data="mnist1d"`.

    Returns:
        Metrics of the best epoch, its checkpoint, the run's id.

    Raises:
        UserError: The input is wrong; nothing was started.
        RunError: The run failed; it is recorded as FAILED.
    """
    return fit_config(load(recipe, changes_of("fit", config, flags)), name=name)


def changes_of(
    verb: str, config: Mapping[str, Any] | None, flags: Mapping[str, Any]
) -> dict[str, tuple[Any, str]]:
    """Keyword arguments as the changes that the same flags would make.

    Raises:
        UserError: No flag has that name.
    """
    keys = {f.name.replace("-", "_"): f.key for f in VERBS[verb].flags if f.key}
    changes = {}
    for flag, value in flags.items():
        if flag not in keys:
            raise UserError(must("keyword", f"one of {', '.join(sorted(keys))}", flag))
        changes[keys[flag]] = (value, f"{flag}=")
    return changes | {key: (value, f"config[{key!r}]") for key, value in (config or {}).items()}


def fit_config(
    config: Config,
    *,
    name: str | None = None,
    command: str = "",
    parent: str | None = None,
    callbacks: Sequence[Any] = (),
) -> RunResult:
    """Train a config once; `fit` and `--seeds` are thin over this.

    Args:
        config: The config.
        name: Name of the run.
        command: The command line, for the run's note.
        parent: Run id under which this run stands.
        callbacks: Lightning's, beside the config's own, for a run in this process.

    Raises:
        UserError: The input is wrong, or there are callbacks for workers to be sent.
    """
    config = as_launched(config)
    if callbacks and config.launch.has_many_workers:
        rule = "named in `trainer.callbacks` where there are several workers"
        raise UserError(must("callbacks", rule, [type(c).__name__ for c in callbacks]))
    if is_joining():
        return follow(config, config.get("ckpt_path"))
    storage = config.launch.storage
    started = time.monotonic()
    with claim(name, storage, recipe=config.recipe) as folder, interruptible():
        ckpt_path = config.get("ckpt_path")
        with placed(config, folder, ckpt_path) as built:
            store = open_store(config).keep_in(folder)
            tags = place_tag(config, folder.name) | config.tracking.tags
            run_id = store.create_run(folder.name, parent=parent, tags=tags)
            run = Run(config, folder, store, run_id, command, parent, ckpt_path, started)
            return train_run(run, built, callbacks)


@contextlib.contextmanager
def placed(config: Config, folder: Path, ckpt_path: str | None) -> Iterator[Built]:
    """What a config builds, while there is a place to train it: this process, or Ray's workers.

    Raises:
        UserError: Something is wrong with the config, the checkpoint or the cluster.
    """
    if not config.launch.has_many_workers:
        yield training.prepare(config, ckpt_path=ckpt_path)
        return
    from .launch import wide  # Ray takes seconds to import

    built = wide.check(config, ckpt_path)
    with wide.cluster_for(config, folder):
        yield built


@dataclass(frozen=True)
class Run:
    """A run that has its folder and its MLflow run, and is to be trained.

    Args:
        config: Its config, as one process trains it.
        folder: Its folder; its name is the run's.
        store: MLflow's store, open.
        run_id: MLflow's run.
        command: The command line, for the note.
        parent: Run id under which it stands.
        ckpt_path: Checkpoint to go on from.
        started: When this process began with it, by the monotonic clock.
        is_again: Whether an earlier process may have written into its MLflow run.
    """

    config: Config
    folder: Path
    store: Store
    run_id: str
    command: str
    parent: str | None
    ckpt_path: str | None
    started: float
    is_again: bool = False

    @property
    def place(self) -> str | None:
        """Where in an object store its checkpoints go; None: they stay in its folder."""
        return place_of(self.config.launch.storage, self.folder.name)


def train_run(run: Run, built: Built, callbacks: Sequence[Any] = ()) -> RunResult:
    """Train a run and give it its end."""
    config, folder, store, name = run.config, run.folder, run.store, run.folder.name
    state = {"name": name, "kind": "fit", "run_id": run.run_id, "recipe": config.recipe}
    state |= {"tracking_uri": store.uri, "experiment": store.experiment, "parent": run.parent}
    if run.place:
        state["storage"] = place_of(config.launch.storage)
    link = store.link(run.run_id)
    result = RunResult(name, run.run_id, "running", {}, None, store.uri, 0.0, link)
    context = told(run=name, run_id=run.run_id)
    recorded = _recorded(store, result, folder, state, run.started)
    with recorded, joinable(result, folder, config), context:
        write_atomic(folder / "config.yaml", config.text())
        write_state(folder, state | {"status": "running"})
        outcome = _train(run, built, callbacks)
        result.metrics, result.checkpoint = outcome.metrics, outcome.checkpoint
        state["stop_reason"] = outcome.stop_reason
    return result


def _train(run: Run, built: Built, callbacks: Sequence[Any]) -> Any:
    """Train in this process, or in the workers that the config asks for."""
    config = run.config
    what: dict[str, Any] = {
        "store_uri": run.store.uri,
        "run_id": run.run_id,
        "folder": run.folder,
        "name": run.folder.name,
        "command": run.command or f"paceline fit {config.recipe}",
        "ckpt_path": run.ckpt_path,
        "strict_metric": "metric" in (config.values.get("sweep") or {}),
        "log_model": config.tracking.log_model,
        "is_again": run.is_again,
        "takes_snapshots": True,
        "place": run.place,
    }
    if not config.launch.has_many_workers:
        return train(config, callbacks=[EpochProgress(), *callbacks], built=built, **what)
    from .launch.wide import train_wide

    return train_wide(config, on_attempt=lambda _: run.store.reopen(run.run_id), **what)


def place_tag(config: Config, *names: str) -> dict[str, str]:
    """The tag that says where in an object store a run's checkpoints are; empty: in none."""
    place = place_of(config.launch.storage, *names)
    return {"paceline.storage": place} if place else {}


def open_store(config: Config) -> Store:
    """The store that a config names, ready to be written.

    Raises:
        UserError: The URI is wrong or the store does not answer.
    """
    uri = resolve_uri(config.tracking.uri, home())
    return Store(uri, config.tracking.experiment or config.recipe).open()


def _keep(state: dict[str, Any], folder: Path) -> None:
    """Keep how a run ended; without it, it counts as interrupted, which `resume` goes on with."""
    try:
        write_state(folder, state)
    except OSError as error:
        logger.warning("How the run ended could not be kept in %s: %s", folder, error.strerror)


@contextlib.contextmanager
def _recorded(
    store: Store, result: RunResult, folder: Path, state: dict[str, Any], started: float
) -> Iterator[None]:
    """Give the run its end, however the work inside ended, and keep it in the folder's state."""
    error: BaseException | None = None
    try:
        yield
        result.status = "finished"
    except Interrupted as interruption:
        result.status = "killed"
        interruption.result = result  # type: ignore[attr-defined]
        raise
    except PacelineError as caught:
        result.status, error = "failed", caught
        raise RunError(caught.what, caught.where, caught.remedy) from caught  # it had started
    except Exception as caught:
        result.status, error = "failed", caught
        raise failed(caught, folder) from caught
    finally:
        if result.status == "running":
            result.status = "killed"
        result.seconds = time.monotonic() - started
        if result.checkpoint is None and (folder / BEST).exists():
            result.checkpoint = str(folder / BEST)  # what there is after an early end
        elif result.checkpoint is None and state.get("storage"):
            result.checkpoint = best_address(str(place_of(state["storage"], folder.name)))
        ended = {**state, **result.as_dict(), "tracking_uri": store.uri}
        _keep(ended, folder)  # first: the store may not answer
        reason = state.get("stop_reason")
        store.finish(result.run_id, result.status, stop_reason=reason, error=error)

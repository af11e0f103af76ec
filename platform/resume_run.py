"""`paceline resume NAME` of a single run: on from its latest checkpoint, in the same MLflow run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .configuration.config import load
from .errors import UserError, must
from .home import claim, read_state, run_folder
from .joining import as_launched, follow, is_joining
from .result import RunResult
from .runs import Run, open_store, placed, train_run
from .signals import interruptible
from .storage.going_on import newest_of
from .storage.location import is_object_store, place_of


def resume_run(name: str, storage: str | None = None, *, command: str = "") -> RunResult:
    """Let an interrupted or failed run go on.

    Args:
        name: The run's name.
        storage: Folder of runs; default under the home.
        command: The command line, for the record.

    Returns:
        The result, as of a run that was never interrupted.

    Raises:
        UserError: No such run, it is being trained, or it has finished.
        RunError: It failed again.
    """
    started = time.monotonic()
    state, folder = read_state(name, storage), run_folder(name, storage)
    if state.get("storage") and storage is None:
        storage = state["storage"]
        state = read_state(name, storage)  # another machine may have gone on
    _check_kind(name, state, folder)
    config = load(str(folder / "config.yaml"))
    config.recipe = state["recipe"]
    where = {"tracking.uri": state["tracking_uri"], "tracking.experiment": state["experiment"]}
    if is_object_store(storage):
        where["launch.storage"] = storage
    config = as_launched(config.override(where, name))
    place = place_of(config.launch.storage, name)
    if is_joining():
        return follow(config, newest_of(place, folder) or config.get("ckpt_path"))
    with claim(name, storage, again=True), interruptible():
        checkpoint = newest_of(place, folder) or config.get("ckpt_path")
        with placed(config, folder, checkpoint) as built:
            store = open_store(config).keep_in(folder)
            store.reopen(state["run_id"])
            run = Run(
                config,
                folder,
                store,
                state["run_id"],
                command,
                state.get("parent"),
                checkpoint,
                started,
                is_again=True,
            )
            return train_run(run, built)


def _check_kind(name: str, state: Mapping[str, Any], folder: Path) -> None:
    if state.get("kind") == "seeds":
        raise UserError(
            must("NAME", "a run or a sweep", f"{name}, a run of several seeds"),
            str(folder),
            "resume the one that was interrupted, or start the command again: paceline status",
        )
    if state["status"] == "finished":
        raise UserError(
            must("NAME", "a run that was interrupted", f"{name}, which is finished"),
            str(folder),
            f"paceline test {name}",
        )

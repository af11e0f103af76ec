"""Where state lives: `$PACELINE_HOME` (default `~/.paceline`), a folder and a lock for each name.

$PACELINE_HOME/mlflow.db       the record, when no tracking server is given
$PACELINE_HOME/artifacts/      its pictures, configs and models
$PACELINE_HOME/runs/NAME/      run.json, config.yaml, checkpoints of one run or sweep
$PACELINE_HOME/data/           data that was downloaded or generated

Where the storage is an object store, its copy of a run's state is kept up beside that.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import UserError, must, unknown
from .storage.location import is_object_store, parse
from .storage.run_in_store import is_taken, kept_in_store, refresh

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def home() -> Path:
    """The folder of all state, made when missing.

    Raises:
        UserError: It cannot be made or written.
    """
    folder = Path(os.environ.get("PACELINE_HOME") or "~/.paceline").expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            must("$PACELINE_HOME", "a folder that can be written", str(folder)),
            f"{type(error).__name__}: {error.strerror}",
            "export PACELINE_HOME=/some/folder/you/own",
        ) from None
    return folder


def runs_folder(storage: str | None = None) -> Path:
    """The folder that holds one folder for each name: `storage`, or `runs` under the home.

    Of runs whose checkpoints go to an object store it holds the state.

    Raises:
        UserError: It is the address of something that runs cannot be stored in.
    """
    if storage and is_object_store(storage):
        parse(storage)
        return home() / "runs"
    return Path(storage).expanduser().absolute() if storage else home() / "runs"


def run_folder(name: str, storage: str | None = None) -> Path:
    """The folder of one run or sweep; it need not exist.

    Raises:
        UserError: The name is no plain file name (it must not walk out of the folder).
    """
    if not NAME.fullmatch(name):
        rule = "letters, digits, '.', '_' and '-', at most 100, starting with a letter or digit"
        raise UserError(must("--name", rule, name))
    return runs_folder(storage) / name


def names(storage: str | None = None) -> list[str]:
    """Names of all runs and sweeps that left a state, newest first."""
    states = runs_folder(storage).glob("*/run.json")
    return [p.parent.name for p in sorted(states, key=lambda p: p.stat().st_mtime, reverse=True)]


def free_name(recipe: str, storage: str | None = None) -> str:
    """`RECIPE-YYYYMMDD-n`, the first n from 1 that no folder has."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", recipe).strip("-._")[:80] or "run"
    stem = f"{stem}-{time.strftime('%Y%m%d')}"
    number = 1
    while _is_in_use(f"{stem}-{number}", storage):
        number += 1
    return f"{stem}-{number}"


def _is_in_use(name: str, storage: str | None) -> bool:
    return (runs_folder(storage) / name).exists() or is_taken(storage, name)


def _reserve(recipe: str, storage: str | None) -> Path:
    """Make the folder of a free name; two processes that ask at once get two names."""
    while True:
        folder = run_folder(free_name(recipe, storage), storage)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError:  # the claim will tell
            return folder
        return folder


@contextlib.contextmanager
def claim(
    name: str | None, storage: str | None = None, *, recipe: str = "run", again: bool = False
) -> Iterator[Path]:
    """Hold a name for as long as this process works on it.

    The lock is the kernel's, so it dies with the process, however that ends.

    Args:
        name: Name of the run or sweep; default: the recipe's first free one.
        storage: Folder of runs; default under the home.
        recipe: What a default name begins with.
        again: The name may have a state already (a resume).

    Yields:
        The folder, whose name is the name.

    Raises:
        UserError: A living process holds the name, or it is taken and `again` is false, or the
            object store that the storage is cannot be used.
    """
    folder = run_folder(name, storage) if name else _reserve(recipe, storage)
    name = folder.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "a+")  # noqa: SIM115 - closed below, after the work
    except OSError as error:
        raise UserError(
            must("--storage", "a folder that can be written", str(folder.parent)), str(error)
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise UserError(
                must("--name", "a name that no living process uses", name),
                f"process {lock.read().strip() or '?'} holds {folder}",
                "another --name, or wait for that process",
            ) from None
        if (folder / "run.json").exists() and not again:
            raise UserError(
                must("--name", "a new name", name),
                str(folder / "run.json"),
                f"another --name, or look at it: paceline show {name}",
            )
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            with kept_in_store(storage, folder, write_atomic, again):
                yield folder
        finally:
            if not (folder / "run.json").exists():  # nothing came of it: leave nothing behind
                with contextlib.suppress(OSError):
                    (folder / "lock").unlink()
                    folder.rmdir()


def is_held(folder: Path) -> bool:
    """Whether a living process, of this host or another, works on what is in a folder."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock, or none that may be read
        return False
    return False


def write_atomic(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    except OSError:  # a full disk, of which it must not keep a part
        temporary.unlink(missing_ok=True)
        raise


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Keep what `show`, `test` and `predict` need to know of a run in its `run.json`."""
    write_atomic(folder / "run.json", json.dumps(state, indent=1, default=str) + "\n")


def read_state(name: str, storage: str | None = None) -> dict[str, Any]:
    """The state of a run or sweep, brought to this disk if another machine has gone on with it.

    Raises:
        UserError: No such name (with the nearest ones), or its state does not parse.
    """
    path = run_folder(name, storage) / "run.json"
    refresh(storage, path.parent, write_atomic)
    if not path.exists():
        raise unknown("NAME", name, names(storage), str(path.parent))
    try:
        state = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        state = str(error)
    if not isinstance(state, dict) or not {"name", "run_id", "status", "tracking_uri"} <= set(
        state
    ):
        raise UserError("`run.json` must be a run's state, but is damaged.", str(path))
    return state

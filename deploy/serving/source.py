"""What is served: a registered model's version, a `models:/` address, or a run by its name."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...platform.errors import RunError, UserError, must, nearest, unknown
from ...platform.evaluation import find_trained, prepare_alone
from ...platform.home import NAME, names
from ...platform.tracking.client import MlflowException, asked, reason, told
from ...platform.tracking.export import save_exported
from ...platform.tracking.registry import holder_of
from ...platform.tracking.store import Store, public_uri
from ...platform.training import fitting as training

_ADDRESS = re.compile(r"(models|runs):/.+")


@dataclass(frozen=True)
class Source:
    """A model that lies on this disk.

    Args:
        name: What it is called in messages.
        folder: The saved MLflow model.
    """

    name: str
    folder: Path


def find_source(word: str, alias: str, store: Store, storage: str | None, into: Path) -> Source:
    """Find a model and bring it to this disk.

    Args:
        word: Name of a registered model, a `models:/...` or `runs:/...` address, a run's name, or
            the path of a saved MLflow model, which has a `/`.
        alias: Which version of a registered model.
        store: The store with the registry; not opened.
        storage: Folder of runs; default under the home.
        into: An empty folder for what has to be written.

    Raises:
        UserError: There is no such model, version or run.
        RunError: The store did not answer.
    """
    if _ADDRESS.fullmatch(word):
        return Source(word, _download(store, word, into))
    if "/" in word and (Path(word) / "MLmodel").is_file():
        return Source(word, Path(word).absolute())
    registered = registered_names(store)
    if word in registered:
        version = holder_of(store, word, alias)
        if version is None:
            raise _no_alias(store, word, alias)
        address = f"models:/{word}/{version.version}"
        return Source(f"{word} version {version.version}", _download(store, address, into))
    if NAME.fullmatch(word) and word in names(storage):
        return Source(word, _exported(word, storage, into))
    raise unknown("MODEL", word, [*registered, *names(storage)], public_uri(store.uri))


def registered_names(store: Store) -> list[str]:
    """The names of all registered models."""
    found, token = [], None
    while True:
        page = asked(
            store.uri,
            lambda at=token: store.client.search_registered_models(max_results=1000, page_token=at),
        )
        found += [model.name for model in page]
        token = page.token
        if not token:
            return found


def _no_alias(store: Store, name: str, alias: str) -> UserError:
    with told(store.uri):
        aliases = sorted(store.client.get_registered_model(name).aliases)
    close = nearest(alias, aliases) or aliases
    remedy = f"--alias {close[0]}" if close else f"paceline promote SWEEP --name {name}"
    there = f"it has {', '.join(aliases)}" if aliases else "it has none"
    return UserError(must("--alias", f"an alias of {name}", alias), there, remedy)


def _download(store: Store, address: str, into: Path) -> Path:
    """The model at an address; of a store on this disk its own folder."""
    from mlflow.artifacts import download_artifacts

    # It warns of each file that it takes back where one of them cannot be had.
    logging.getLogger("mlflow.utils.file_utils").setLevel(logging.ERROR)
    try:
        with _looked_up_in(store.uri):
            found = download_artifacts(artifact_uri=address, dst_path=str(into))
    except MlflowException as error:
        rule = "the address of a model that there is"
        where = f"{public_uri(store.uri)}: {reason(error)}"
        remedy = "models:/NAME@champion, models:/NAME/3, or see the page: paceline ui"
        raise UserError(must("MODEL", rule, address), where, remedy) from None
    except OSError as error:
        raise RunError(f"{address} could not be fetched: {error}", public_uri(store.uri)) from error
    return Path(found)


@contextlib.contextmanager
def _looked_up_in(uri: str) -> Iterator[None]:
    """Let MLflow resolve addresses by a store: it has no other way than two variables."""
    import mlflow

    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before[names[0]] or "")
        mlflow.set_registry_uri(before[names[1]] or "")
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ |= {name: value} if value is not None else {}


def _exported(name: str, storage: str | None, into: Path) -> Path:
    """A run's best checkpoint, or that of a sweep's best trial, exported now."""
    changes = {"launch.storage": (storage, "--storage")} if storage else {}
    config, checkpoint, _ = find_trained(name, changes, (), None)
    config = config.override({"launch.num_workers": 1, "launch.max_workers": None})
    built = prepare_alone(config, checkpoint)
    training.load_weights(built.model, checkpoint or None)
    save_exported(built.model, into / "model")
    return into / "model"

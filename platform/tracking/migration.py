"""A store made ready to be written: created whole, or found sound.

MLflow migrates whatever store it opens first: 0.9 s of table changes that two processes would run
into each other, and that a kill would leave half done. So a fresh SQLite store is built under a
passing name and appears under its own in one step.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError
from .client import MlflowException, reason
from .store_check import check_store, refused_entry
from .uri import FLAG, VARIABLE, is_of_environment, public_uri, sqlite_path


def prepare_store(uri: str, artifact_root: Path | None = None) -> None:
    """Check the store and, where it is a SQLite file that is not there yet, create it.

    Args:
        uri: What `resolve_uri` returned.
        artifact_root: Where the store's default experiment keeps files.

    Raises:
        UserError: The store does not answer or cannot be written.
    """
    check_store(uri)
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        try:
            _create_sqlite(path, artifact_root or path.parent / "artifacts")
        except OSError as error:
            raise UserError(
                f"`tracking.uri` must be a file that can be created, but {path}: {error.strerror}.",
                FLAG,
                "another file, or another PACELINE_HOME",
            ) from error


def not_ours(uri: str, error: MlflowException) -> UserError:
    """The store answers, but not as an MLflow store of our version does."""
    place = VARIABLE if is_of_environment(uri) else FLAG
    remedy = f"for an older store, after a backup: `mlflow db upgrade {public_uri(uri)}`"
    if uri.startswith("http"):
        remedy = "see who listens there: `mlflow server` of this version has to"
    uri = public_uri(uri)
    if denied := re.search(r"error code (40[13])", str(error)):
        return refused_entry(uri, int(denied[1]))
    return UserError(
        f"`tracking.uri` must be an MLflow store of this version, but {uri} says: {reason(error)}",
        place,
        remedy,
    )


def _create_sqlite(path: Path, artifact_root: Path) -> None:
    """Build a store beside `path` and link it there, unless another process was quicker."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        fresh = Path(folder) / "mlflow.db"
        with _unsynchronized():
            store = SqlAlchemyStore(f"sqlite:///{fresh}", artifact_root.absolute().as_uri())
            store.engine.dispose()
        # The mode is kept in the file: with a write-ahead log, readers (the pages, `show`) and a
        # writer no longer wait for each other, and a commit waits for the disk once.
        connection = sqlite3.connect(fresh)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            return  # the other process's store is as good as ours
        except OSError:  # a file system without hard links
            fresh.rename(path)


@contextmanager
def _unsynchronized() -> Iterator[None]:
    """Let new connections leave the disk in peace.

    Each of the migrations commits, and each commit waits for the disk, seconds on a busy one. A
    store that nobody sees yet need not survive a crash.
    """
    from sqlalchemy import Engine, event

    def relax(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)

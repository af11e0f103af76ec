"""A store made ready to be written: created whole, or found sound.

MLflow migrates whatever store it opens first: 0.9 s of table changes that two processes would run
into each other, and that a kill would leave half done. So a fresh SQLite store is built under a
passing name and appears under its own in one step.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path

from .errors import UserError
from .tracking_uri import FLAG, check_store, sqlite_path


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


def _create_sqlite(path: Path, artifact_root: Path) -> None:
    """Build a store beside `path` and link it there, unless another process was quicker."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        fresh = Path(folder) / "mlflow.db"
        store = SqlAlchemyStore(f"sqlite:///{fresh}", artifact_root.absolute().as_uri())
        store.engine.dispose()
        # The mode is kept in the file: with a write-ahead log, readers (the pages, `show`) and a
        # writer no longer wait for each other, and a commit does not wait for the disk twice.
        connection = sqlite3.connect(fresh)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        try:
            os.link(fresh, path)
        except FileExistsError:
            return

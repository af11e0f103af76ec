"""A real SQLite store for each test, copied from one that was migrated once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from paceline.platform.tracking.store import Store, resolve_uri


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("migrated")
    Store(resolve_uri(None, home), "Default").open()
    return home / "mlflow.db"


@pytest.fixture
def store(migrated_store: Path, tmp_path: Path) -> Store:
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return Store(resolve_uri(None, tmp_path), "test").open()

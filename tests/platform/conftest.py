"""A real SQLite store for each test, copied from one migrated once, and a real MLflow server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from paceline.platform.tracking.store import Store
from paceline.platform.tracking.uri import resolve_uri
from paceline.tests.platform.tracking.proxy import Proxy
from paceline.tests.platform.tracking.server import Server, serving


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("migrated")
    Store(resolve_uri(None, home), "Default").open()
    return home / "mlflow.db"


@pytest.fixture
def store(migrated_store: Path, tmp_path: Path) -> Store:
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return Store(resolve_uri(None, tmp_path), "test").open()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[Server]:
    """`mlflow server` on a SQLite store of its own."""
    with serving(tmp_path_factory.mktemp("server"), migrated_store) as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A proxy before the server, which can be told to misbehave."""
    proxy = Proxy(server.port)
    yield proxy
    proxy.refuse()

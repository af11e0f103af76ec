"""MLflow without PostgreSQL and without an object store: SQLite, a folder, the same accounts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paceline.deploy.cluster_profile import environment
from paceline.deploy.local import bringing_up, postgresql, services
from paceline.deploy.local.cluster import LocalCluster
from paceline.deploy.local.ports import choose
from paceline.deploy.local.taking_down import take_down
from paceline.tests.deploy.conftest import Started


@pytest.fixture
def plain(paceline_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    """A cluster of a machine that has neither."""
    pytest.importorskip("flask_wtf", reason="needs pip install 'paceline[cluster]'")
    monkeypatch.setattr(postgresql, "is_installed", lambda: False)
    monkeypatch.setattr(services, "has_s3_double", lambda: False)
    cluster = bringing_up._prepare(1, 1, choose({}))
    yield cluster
    take_down()


LOG = """
import mlflow
with mlflow.start_run() as run:
    mlflow.log_text("of ours", "a/text.txt")
print(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/a/text.txt"))
"""


@pytest.mark.xdist_group("local-cluster")
def test_what_mlflow_keeps_in_the_store_is_handed_out_again(local_cluster: Started):
    """Its server answers with a presigned address of the store, not with the content."""
    given = {**os.environ, **local_cluster.environment, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(
        [sys.executable, "-c", LOG],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.stdout.strip().splitlines()[-1:] == ["of ours"], done.stderr


def test_mlflow_on_sqlite_keeps_records_and_artifacts_for_who_has_the_password(
    plain: LocalCluster,
):
    assert (plain.database, plain.has_object_store) == ("", False)
    assert plain.parts == ["mlflow", "head", "worker-1"]
    profile = plain.profile()
    assert profile.storage == str(plain.folder / "storage")
    assert Path(profile.storage).is_dir()
    services.start_mlflow(plain)
    assert services.status(plain) == 200
    assert services.status(plain, password="password1234") == 401
    given = environment(profile)
    assert not any(name.startswith("AWS_") for name in given)
    done = subprocess.run(
        [sys.executable, "-c", LOG],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().splitlines()[-1:] == ["of ours"], done.stderr
    kept = [path for path in (plain.folder / "artifacts").rglob("text.txt")]
    assert len(kept) == 1

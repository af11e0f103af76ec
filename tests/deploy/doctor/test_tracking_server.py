"""Real MLflow servers, with guards and without: what the doctor says of each."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from mlflow import MlflowClient
from paceline.deploy.doctor import tracking
from paceline.deploy.doctor.row import Row
from paceline.platform.ports import free_port

PASSWORD = secrets.token_urlsafe(12)


def own_address() -> str:
    """An address of this machine that others reach."""
    for found in psutil.net_if_addrs().values():
        for one in found:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return one.address
    pytest.skip("needs a network address beside 127.0.0.1")


@contextlib.contextmanager
def mlflow_server(folder: Path, store: Path, host: str, *words: str, **variables: str):
    """An MLflow server on an address of this machine."""
    port = free_port()
    uri = f"http://{host}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{store}", *words]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, **variables},
        )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{uri}/health", timeout=2).ok:
                    break
            assert process.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.1)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def unguarded(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that others reach, that asks for no password and takes any host."""
    import shutil

    folder = tmp_path_factory.mktemp("unguarded")
    shutil.copy(empty_store, folder / "mlflow.db")
    store = folder / "mlflow.db"
    with mlflow_server(folder, store, own_address(), "--allowed-hosts", "*") as uri:
        yield uri


def test_a_server_that_takes_a_run_is_well_and_keeps_nothing_in_sight(unguarded: str):
    row = tracking.look_at_store(unguarded, tracking.Server(unguarded))
    assert row.state == "ok", row
    assert "took a run" in row.found
    names = [found.name for found in MlflowClient(unguarded).search_experiments()]
    assert names == ["Default"]


def test_a_server_that_takes_any_host_is_red(unguarded: str):
    row = tracking.look_at_hosts(tracking.Server(unguarded))
    assert row.state == "FAIL"
    assert "--allowed-hosts" in row.remedy


def test_a_server_that_others_reach_and_asks_for_no_password_is_red(unguarded: str):
    row = tracking.look_at_password(tracking.Server(unguarded))
    assert row.state == "FAIL"
    assert "basic-auth" in row.remedy


def test_a_server_whose_clock_is_right_is_in_step(unguarded: str):
    offset = tracking.look_at_clock(tracking.Server(unguarded))
    assert offset is not None
    assert abs(offset[0]) <= offset[1] + 1.1  # a server may tell the second before


def test_a_server_that_stands_still_is_red_within_its_time(
    unguarded: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tracking, "TIMEOUT_S", 1.0)
    port = int(unguarded.rpartition(":")[2])
    pids = {
        found.pid
        for found in psutil.net_connections("tcp")
        if found.status == "LISTEN" and found.laddr[1:] == (port,) and found.pid
    }
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    try:
        row = tracking.look_at_store(unguarded, tracking.Server(unguarded))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert pids
    assert row.state == "FAIL"
    assert "does not answer" in row.found
    assert time.monotonic() - started < 5


@pytest.fixture(scope="module")
def guarded(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One with basic authentication and its own host only."""
    import shutil

    folder = tmp_path_factory.mktemp("guarded")
    shutil.copy(empty_store, folder / "mlflow.db")
    settings = folder / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = admin\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    given = {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
    }
    words = ("--app-name", "basic-auth")
    with mlflow_server(folder, folder / "mlflow.db", "127.0.0.1", *words, **given) as uri:
        yield uri


def looked(uri: str) -> list[Row]:
    server = tracking.Server(uri)
    return [
        tracking.look_at_store(uri, server),
        tracking.look_at_hosts(server),
        tracking.look_at_password(server),
    ]


@pytest.mark.slow
def test_a_guarded_server_is_well_for_who_has_its_password(
    guarded: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    rows = looked(guarded)
    assert [row.state for row in rows] == ["ok"] * 3, rows
    assert PASSWORD not in str(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "remedy"), [("", "set MLFLOW_TRACKING_USERNAME"), ("wrong", "are right")]
)
def test_a_guarded_server_is_red_for_who_has_not(
    given: str, remedy: str, guarded: str, monkeypatch: pytest.MonkeyPatch
):
    if given:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", given)
    row = looked(guarded)[0]
    assert row.state == "FAIL"
    assert "does not let us in (401)" in row.found
    assert remedy in row.remedy

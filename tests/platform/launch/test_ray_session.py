"""What Ray itself says while we use it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import Any

import pytest
from paceline.platform.errors import UserError
from paceline.platform.launch import ray_session
from paceline.platform.launch.ray_session import RaySession
from ray._private import services

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def printed_after_a_death(capfd: pytest.CaptureFixture[str], wait_s: float) -> str:
    """What stands on standard output once a worker has died, at the latest after the wait."""
    import ray

    capfd.readouterr()
    with contextlib.suppress(ray.exceptions.WorkerCrashedError):
        ray.get(ray.remote(num_cpus=0, max_retries=0)(lambda: os._exit(1)).remote())
    printed, end = "", time.monotonic() + wait_s
    while "died" not in printed and time.monotonic() < end:
        time.sleep(0.1)
        printed += capfd.readouterr().out
    return printed


def test_that_a_worker_died_is_kept_off_standard_output(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as unhushed:
        unhushed.setattr("ray._private.worker._worker_logs_enabled", True)
        begin = time.monotonic()
        assert "died" in printed_after_a_death(capfd, 60)  # else there is nothing to hush
        took_s = time.monotonic() - begin
    assert printed_after_a_death(capfd, 1 + 2 * took_s) == ""


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has no Ray yet; the tests' own is not to be shut down."""
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.shutdown", lambda: None)


@pytest.mark.usefixtures("joined")
def test_a_head_on_the_loopback_where_ray_looks_elsewhere_is_told_soon(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(services, "get_node_ip_address", lambda: "127.0.0.2")
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
        with pytest.raises(UserError) as caught, RaySession(f"127.0.0.1:{port}") as session:
            session.nodes()
    assert f"nobody listens at 127.0.0.2:{port}, where Ray looks for it" in caught.value.where
    assert "paceline cluster env" in caught.value.remedy
    with pytest.raises(UserError) as caught, RaySession(f"127.0.0.1:{port}") as session:
        session.nodes()  # nobody listens there either now
    assert caught.value.remedy == "ray start --head"


@pytest.mark.usefixtures("joined")
def test_who_leaves_does_not_wait_for_a_cluster_that_is_still_being_joined(
    monkeypatch: pytest.MonkeyPatch,
):
    tried, end = threading.Event(), threading.Event()

    def init(**options: Any) -> None:
        tried.set()
        end.wait(60)

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr(ray_session, "LEAVE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as head:
        monkeypatch.setattr(services, "get_node_ip_address", lambda: "127.0.0.1")
        began = time.monotonic()
        with RaySession(f"127.0.0.1:{head.getsockname()[1]}") as session:
            tried.wait(30)
        took = time.monotonic() - began
    end.set()
    session._thread.join(30)  # it shuts Ray down, which must not be the tests' own
    assert took < 30

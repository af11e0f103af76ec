"""Finding a cluster's processes by their mark, and ending them without touching another."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from paceline.deploy.local.cluster import LocalCluster
from paceline.deploy.local.processes import end, of_cluster, start, wait_until
from paceline.platform.errors import RunError

# A daemon that its parent leaves behind, one that has lost its environment, and one in a session
# of its own, as Ray has them.
TREE = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
if os.fork() == 0:
    subprocess.Popen(sleep, env={})
    subprocess.Popen(sleep, start_new_session=True)
    time.sleep(600)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    cluster = LocalCluster(secrets.token_hex(16), 1, 1, {}, str(tmp_path))
    yield cluster
    end(cluster.id, lambda _: True, signal.SIGKILL)
    while STARTED:
        STARTED.pop().wait(20)


STARTED: list[subprocess.Popen] = []


def run(cluster: LocalCluster, code: str, part: str = "one") -> subprocess.Popen:
    log = Path(cluster.runtime) / f"{part}.log"
    STARTED.append(start(cluster, part, [sys.executable, "-c", code], {}, log))
    return STARTED[-1]


def wait_for(cluster: LocalCluster, count: int) -> dict[psutil.Process, str]:
    deadline = time.monotonic() + 20
    while len(found := of_cluster(cluster.id)) != count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(found) == count, found
    return found


def test_daemons_children_and_those_without_environment_are_found_and_ended(cluster: LocalCluster):
    process = run(cluster, TREE)
    assert process.wait(20) == 0
    found = wait_for(cluster, 3)
    assert set(found.values()) == {"one"}
    assert end(cluster.id, lambda _: True) == 3
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in found)


def test_a_part_is_ended_alone_and_strangers_never(cluster: LocalCluster):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    other = LocalCluster("another", 1, 1, {}, cluster.runtime)
    try:
        sleeping = "import time; time.sleep(600)"
        run(cluster, sleeping, "one")
        run(cluster, sleeping, "two")
        run(other, sleeping, "one")
        wait_for(cluster, 2)
        assert end(cluster.id, "one".__eq__) == 1
        assert list(of_cluster(cluster.id).values()) == ["two"]
        assert stranger.poll() is None
        assert len(of_cluster("another")) == 1
    finally:
        stranger.kill()
        stranger.wait()
        end("another", lambda _: True, signal.SIGKILL)


def test_who_does_not_listen_is_killed_once_its_time_is_over(cluster: LocalCluster):
    process = run(cluster, DEAF)
    log = Path(cluster.runtime) / "one.log"
    wait_until(lambda: "deaf" in log.read_text(), "It", process, log, 20)
    begin = time.monotonic()
    assert end(cluster.id, lambda _: True, grace_s=1) == 1
    assert time.monotonic() - begin >= 1
    process.wait(5)


def test_the_command_itself_is_never_found_though_a_job_of_the_cluster_calls_it(
    cluster: LocalCluster,
):
    code = f"""
from paceline.deploy.local.processes import of_cluster
import subprocess, sys
print(len(of_cluster({cluster.id!r})), flush=True)
"""
    log = Path(cluster.runtime) / "one.log"
    assert run(cluster, code).wait(20) == 0
    assert log.read_text().split() == ["0"]


def test_a_start_that_fails_says_what_was_said_last(cluster: LocalCluster):
    process = run(cluster, "import sys; sys.exit('no such thing')")
    log = Path(cluster.runtime) / "one.log"
    with pytest.raises(RunError, match="It ended with code 1") as caught:
        wait_until(lambda: False, "It", process, log, 20)
    assert "no such thing" in caught.value.where


def test_keys_of_the_user_do_not_reach_the_cluster(cluster: LocalCluster, monkeypatch):
    for name in ("AWS_PROFILE", "MLFLOW_TRACKING_TOKEN", "RAY_ADDRESS", "PGPASSWORD"):
        monkeypatch.setenv(name, "of the user")
    log = Path(cluster.runtime) / "one.log"
    code = "import os; print([k for k, v in os.environ.items() if v == 'of the user'])"
    assert run(cluster, code).wait(20) == 0
    assert log.read_text().strip() == "[]"
    assert os.stat(log).st_mode & 0o777 == 0o600

"""Clusters that cannot be reached, and one whose token the caller has not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import psutil
import pytest
from paceline.tests.platform.launch.work import Work

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HEAD = """
import sys
from paceline.platform.launch import ray_settings
from ray.cluster_utils import Cluster

node = {"num_cpus": 2, "object_store_memory": 100_000_000, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=node)
print("ADDRESS", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


class Guarded(NamedTuple):
    """A cluster that wants a token."""

    address: str
    token: str


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    token = os.urandom(32).hex()
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    pipe = subprocess.PIPE
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD], env=environment, stdin=pipe, stdout=pipe, text=True
    )
    assert head.stdout is not None
    told = next(line for line in head.stdout if line.startswith("ADDRESS"))
    yield Guarded(told.split()[1], token)
    head.communicate(timeout=60)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host:6379"])
def test_a_wrong_address_is_one_message(address: str, work: Work):
    started = time.monotonic()
    done = work.end_of(work.fit("nowhere", "--workers", 2, "--address", address), 90)
    assert done.code == 2, done.err
    assert "`--address` must be the address of a running Ray cluster" in done.err
    assert "Traceback" not in done.err
    assert done.json["error"]["remedy"]
    assert not (work.home / "runs" / "nowhere").exists()
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("given", ["a wrong one", "none"])
def test_a_wrong_token_is_told_and_stands_nowhere(
    given: str, guarded: Guarded, work: Work, monkeypatch: pytest.MonkeyPatch
):
    wrong = os.urandom(32).hex()
    if given == "a wrong one":
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", wrong)
    done = work.end_of(work.fit("refused", "--workers", 2, "--address", guarded.address), 90)
    assert done.code == 2, done.err
    assert "RAY_AUTH_TOKEN" in done.json["error"]["remedy"]
    assert "Traceback" not in done.err
    # Ray's client adds a line of its own for each second that it tries.
    ours = [line for line in done.err.splitlines() if not line.startswith("[")]
    assert len(ours) == 3, done.err
    assert wrong not in done.err + done.out
    assert not (work.home / "runs" / "refused").exists()


def test_the_right_token_opens_and_stands_in_no_record_log_or_command_line(
    guarded: Guarded, work: Work, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", guarded.token)
    flags = ["--workers", 2, "--address", guarded.address, "--trainer.max_epochs", 4]
    run = work.fit("let-in", *flags, "--model.step_s", 0.05, "--model.raises_at", 20)
    lines: list[str] = []

    def look() -> None:
        lines.extend(" ".join(process.cmdline()) for process in psutil.process_iter())

    work.when_at("let-in", 8, run, look)
    done = work.end_of(run)
    assert done.code == 1, done.err
    assert "KeyError: 'the slip'" in done.err
    assert any("RayTrainWorker" in line for line in lines)
    assert guarded.token not in "\n".join([*lines, done.err, done.out])
    token = guarded.token.encode()
    for place in (work.home, work.folder):  # the record, the traceback, the spool
        found = [path for path in place.rglob("*") if path.is_file()]
        assert any(path.name == "mlflow.db" for path in found) or place == work.folder
        assert [path for path in found if token in path.read_bytes()] == []

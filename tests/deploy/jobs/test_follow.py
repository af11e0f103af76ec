"""A job that the cluster has forgotten while it was followed; the cluster is a stand-in."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from paceline.deploy.jobs import follow
from paceline.deploy.jobs.follow import Follower
from paceline.platform.errors import RunError


class Cluster:
    """A head that answers for one id; after `begin_anew` that is another job's."""

    def __init__(self) -> None:
        self.cluster = SimpleNamespace(url="http://127.0.0.1:8265")
        self.submitted_ms = 1000
        self.stopped: list[str] = []
        self.text = "epoch 1\nepoch 2\n"

    def begin_anew(self) -> None:
        self.submitted_ms, self.text = 2000, "the first line of another job\n"

    def get_job_info(self, job_id: str) -> Any:
        return SimpleNamespace(
            submission_id=job_id,
            status="RUNNING",
            metadata={},
            driver_exit_code=None,
            message="",
            driver_agent_http_address="http://127.0.0.1:1",
            start_time=self.submitted_ms,
        )

    def stop_job(self, job_id: str) -> None:
        self.stopped.append(job_id)

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        yield self.text


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(follow, "asked", lambda call, *words: call(*words))
    monkeypatch.setattr("paceline.deploy.jobs.job.asked", lambda call, *words: call(*words))
    return Cluster()


def test_the_output_of_another_job_with_the_same_id_is_not_shown(cluster: Cluster):
    seen: list[str] = []

    def write(text: str) -> None:
        seen.append(text)
        cluster.begin_anew()

    with pytest.raises(RunError, match="is gone"):
        Follower(cluster, "far", write).follow()  # type: ignore[arg-type]
    assert "".join(seen) == "epoch 1\nepoch 2\n"


def test_another_job_with_the_same_id_is_not_ended(cluster: Cluster):
    def tell(line: str) -> None: ...

    def interrupt(text: str) -> None:
        cluster.begin_anew()
        os.kill(os.getpid(), signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(RunError, match="is gone"):
        Follower(cluster, "far", interrupt, tell).follow()  # type: ignore[arg-type]
    assert cluster.stopped == []


def test_a_cluster_that_is_silent_is_told_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    async def silent(job_id: str) -> AsyncIterator[str]:
        raise ConnectionError("nobody is there")
        yield ""

    monkeypatch.setattr(cluster, "tail_job_logs", silent)
    monkeypatch.setattr(follow, "TELL_SILENT_S", 0.5)
    monkeypatch.setattr(follow, "PATIENCE_S", 3.0)
    told: list[str] = []
    with pytest.raises(RunError, match="nobody is there"):
        Follower(cluster, "far", lambda text: None, told.append).follow()  # type: ignore[arg-type]
    assert told == ["http://127.0.0.1:8265 does not answer; waiting for it"]

"""Runs on a cluster whose nodes share no folder, only an object store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paceline.tests.platform.launch.work import NODE, Work, add_node
from paceline.tests.platform.storage.s3_double import BUCKET, S3Double

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return f"{tmp_path.parent.name}/{tmp_path.name}"


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A node without cores, for the driver."""
    from paceline.platform.launch import ray_settings  # noqa: F401 - before Ray
    from ray.cluster_utils import Cluster

    here = NODE | {"num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=here)
    yield made
    made.shutdown()


def test_nodes_that_share_no_folder_go_on_from_the_store_after_the_driver_was_killed(
    cluster, work: Work, s3: S3Double, prefix: str
):
    add_node(cluster)
    add_node(cluster)
    flags = ["--workers", 2, "--address", cluster.address, "--trainer.max_epochs", 6]
    flags += ["--model.step_s", 0.05, "--storage", s3.storage(prefix)]
    run = work.fit("orphan", *flags)

    def step() -> int:
        is_there = "latest.json" in s3.keys(f"{prefix}/orphan")
        return json.loads(s3.read(f"{prefix}/orphan/latest.json"))["step"] if is_there else 0

    while step() < 16 and run.poll() is None:
        time.sleep(0.1)
    os.kill(run.pid, signal.SIGKILL)
    work.end_of(run)
    time.sleep(3)  # the workers end with their driver
    shutil.rmtree(work.home / "nodes", ignore_errors=True)
    for path in (work.home / "runs" / "orphan").glob("*.ckpt"):  # if rank 0 was beside the driver
        path.unlink()
    done = work.end_of(work.start("resume", "orphan", "--json"))
    assert done.code == 0, done.err
    address = f"s3://{BUCKET}/{prefix}/orphan/checkpoints/"
    assert done.json["status"] == "finished"
    assert done.json["checkpoint"].startswith(address)
    found = work.run()
    assert (found.info.status, found.data.tags["attempt"]) == ("FINISHED", "2")
    assert work.points("train/number") == [(n, float(n)) for n in range(48)]
    assert step() == 48
    assert not list((work.home / "nodes").glob("*"))


def test_a_node_without_access_to_the_store_is_named_before_anything_starts(
    cluster, work: Work, s3: S3Double, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    add_node(cluster)
    with monkeypatch.context() as without:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            without.delenv(name)
        without.setenv("HOME", str(tmp_path))
        add_node(cluster)
    flags = ["--workers", 2, "--address", cluster.address, "--storage", s3.storage(prefix)]
    done = work.end_of(work.fit("forbidden", *flags))
    assert done.code == 2, done.err
    error = done.json["error"]
    assert "every node of the cluster can write and read" in error["what"]
    assert error["where"].count("AWS Error") == 1  # of the one node
    assert "credentials on every node" in error["remedy"]
    assert "Traceback" not in done.err
    assert s3.keys(prefix) == []
    assert not (work.home / "runs" / "forbidden").exists()

"""Runs on a cluster of several nodes, which here share one machine.

Every command is a process of its own, as on a machine of such a cluster.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paceline.tests.platform.launch.work import NODE, Work, add_node

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def head() -> Iterator[Any]:
    """A cluster of one node with one core, beside which the commands run."""
    from paceline.platform.launch import ray_settings  # noqa: F401 - before Ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    yield made
    made.shutdown()


@pytest.fixture
def cluster(head: Any) -> Iterator[Any]:
    """That node and a second one."""
    add_node(head)
    yield head
    for node in list(head.worker_nodes):
        head.remove_node(node)


@pytest.fixture
def work(cluster: Any, paceline_home: Path, tmp_path: Path) -> Iterator[Work]:
    made = Work(paceline_home, tmp_path / "work")
    yield made
    made.end()


def kill(cluster: Any, node: Any) -> None:
    cluster.remove_node(node, allow_graceful=False)


def each_once(num_steps: int) -> list[tuple[int, float]]:
    return [(n, float(n)) for n in range(num_steps)]


def test_workers_on_two_nodes_write_one_run_with_the_load_of_both(cluster, work: Work):
    flags = ["--workers", 2, "--address", cluster.address, "--trainer.max_epochs", 2]
    done = work.end_of(work.fit("both", *flags))
    assert done.code == 0, done.err
    assert done.json["status"] == "finished"
    metrics = work.run().data.metrics
    loads = {name.split("/")[1] for name in metrics if name.startswith("system/")}
    assert len(loads) == 2, loads
    assert work.points("train/number") == each_once(16)
    assert not list(Path(done.json["checkpoint"]).parent.glob(".*"))  # the probe's files are gone


def test_a_relative_storage_is_refused_on_several_nodes(cluster, work: Work):
    flags = ["--workers", 2, "--address", cluster.address, "--storage", "here"]
    done = work.end_of(work.fit("relative", *flags))
    assert done.code == 2
    assert "absolute folder that all 2 nodes share" in done.err
    assert str(work.folder / "here") in done.err


def test_an_elastic_run_goes_on_with_the_workers_there_is_room_for(cluster, work: Work):
    (node,) = cluster.worker_nodes
    flags = ["--workers", "1:2", "--address", cluster.address, "--trainer.max_epochs", 6]
    run = work.fit("elastic", *flags, "--model.step_s", 0.05)
    work.when_at("elastic", 16, run, lambda: kill(cluster, node))
    done = work.end_of(run)
    assert done.code == 0, done.err
    assert "Starting again" in done.err
    found = work.run()
    assert found.info.status == "FINISHED"
    assert found.data.params["world_size"] == "2"
    assert found.data.tags["world_size"] == "1"  # what it went on with
    steps = [step for step, _ in work.points("train/number")]
    assert steps == list(range(len(steps)))


def test_an_elastic_run_takes_a_node_that_comes(cluster, work: Work):
    cluster.remove_node(*cluster.worker_nodes)
    flags = ["--workers", "1:2", "--address", cluster.address, "--trainer.max_epochs", 24]
    flags += ["--launch.save_every_n_steps", 4, "--model.step_s", 0.3]
    run = work.fit("grows", *flags)
    work.when_at("grows", 16, run, lambda: add_node(cluster))  # Train looks once a minute
    done = work.end_of(run, 240)
    assert done.code == 0, done.err
    found = work.run()
    assert found.info.status == "FINISHED"
    assert (found.data.params["world_size"], found.data.tags["world_size"]) == ("1", "2")
    steps = [step for step, _ in work.points("train/number")]
    assert steps == list(range(len(steps)))
    assert 24 * 8 < len(steps) < 24 * 16


def test_a_run_waits_for_a_node_that_died_and_goes_on_once_it_is_back(cluster, work: Work):
    (node,) = cluster.worker_nodes
    flags = ["--workers", 2, "--address", cluster.address, "--trainer.max_epochs", 6]
    run = work.fit("waits", *flags, "--model.step_s", 0.05)

    def die_and_return() -> None:
        kill(cluster, node)
        time.sleep(30)
        add_node(cluster)

    work.when_at("waits", 16, run, die_and_return)
    done = work.end_of(run)
    assert done.code == 0, done.err
    assert "room for 1 of 2 workers" in done.err
    assert work.run().data.tags["attempt"] == "2"
    assert work.points("train/number") == each_once(48)


def test_a_node_that_is_about_to_go_is_left_in_time(cluster, work: Work):
    (node,) = cluster.worker_nodes
    add_node(cluster)
    flags = ["--workers", 2, "--address", cluster.address, "--trainer.max_epochs", 8]
    flags += ["--launch.max_failures", 0, "--model.step_s", 0.05]
    run = work.fit("drained", *flags)
    work.when_at("drained", 8, run, lambda: drain(cluster.address, node.node_id))
    done = work.end_of(run)
    assert done.code == 0, done.err
    assert "had to leave" in done.err
    assert work.run().data.tags["attempt"] == "2"
    assert work.points("train/number") == each_once(64)


def drain(address: str, node_id: str) -> None:
    """Tell the cluster that a node will be taken away in a minute."""
    from ray._raylet import GcsClient

    PREEMPTION = 2
    deadline_ms = int((time.time() + 60) * 1000)
    accepted, reason = GcsClient(address).drain_node(node_id, PREEMPTION, "spot", deadline_ms)
    assert accepted, reason


def test_a_driver_that_is_killed_leaves_a_run_that_resume_brings_to_its_end(cluster, work: Work):
    flags = ["--workers", 2, "--address", cluster.address, "--trainer.max_epochs", 6]
    run = work.fit("orphan", *flags, "--model.step_s", 0.05)
    work.when_at("orphan", 16, run, lambda: os.kill(run.pid, signal.SIGKILL))
    run.wait()
    state = json.loads((work.home / "runs" / "orphan" / "run.json").read_text())
    assert state["status"] == "running"
    done = work.end_of(work.start("resume", "orphan", "--json"))
    assert done.code == 0, done.err
    assert done.json["status"] == "finished"
    found = work.run()
    assert (found.info.status, found.data.tags["attempt"]) == ("FINISHED", "2")
    assert work.points("train/number") == each_once(48)

"""One run that suffers a kill of each kind, on one cluster: nothing of it is lost or doubled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from paceline.tests.platform.launch.work import NODE, Work, add_node, train_workers
from paceline.tests.platform.tracking.server import Server, serving

pytestmark = [pytest.mark.ray, pytest.mark.long]

SAVED_EVERY = 4  # steps


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one core."""
    from paceline.platform.launch import ray_settings  # noqa: F401 - before Ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    add_node(made)
    yield made
    made.shutdown()


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[Server]:
    """An MLflow server of its own, which can be killed."""
    folder = tmp_path / "server"
    folder.mkdir()
    with serving(folder, empty_store) as server:
        yield server


@pytest.fixture
def work(paceline_home: Path, tmp_path: Path, server: Server) -> Iterator[Work]:
    made = Work(paceline_home, tmp_path / "work", server.uri)
    yield made
    made.end()


def test_a_run_survives_a_kill_of_each_kind(cluster: Any, server: Server, work: Work):
    (node,) = cluster.worker_nodes
    flags = ["--workers", 2, "--address", cluster.address, "--tracking-uri", server.uri]
    flags += ["--launch.save_every_n_steps", SAVED_EVERY, "--trainer.max_epochs", 12]
    run = work.fit("hurt", *flags, "--model.step_s", 0.05)

    work.when_at("hurt", 12, run, lambda: train_workers()[-1].kill())

    def lose_the_node() -> None:
        cluster.remove_node(node, allow_graceful=False)
        add_node(cluster)

    work.when_at("hurt", 36, run, lose_the_node)
    work.when_at("hurt", 60, run, server.stop)
    work.when_at("hurt", 76, run, run.kill)
    run.communicate()
    folder = work.home / "runs" / "hurt"
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    server.start()
    done = work.end_of(work.start("resume", "hurt", "--json"))

    assert done.code == 0, done.err
    assert done.err.count("died or was cut off") == 2
    assert "raylet" not in done.err  # what Ray says of it, whenever that comes
    assert "Traceback" not in done.err
    found = work.run()
    assert (found.info.run_id, found.info.status) == (done.json["run_id"], "FINISHED")
    assert found.data.tags["attempt"] == "4"
    assert work.points("train/number") == [(n, float(n)) for n in range(96)]
    assert [step for step, _ in work.points("val/loss")] == [*range(7, 96, 8)]
    psutil.wait_procs(train_workers(), timeout=10)
    assert train_workers() == []

"""Runs on a cluster of several nodes, which here share one machine; each test has its own cluster.

Every command is a process of its own, as on a machine of such a cluster.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from paceline.platform.training.checkpoint_file import read

pytestmark = [pytest.mark.ray, pytest.mark.slow]

MODELS = Path(__file__).parent / "models"
STEADY = ["fit", "steady.yaml", "--seed", "1", "--trainer.log_every_n_steps", "1", "--json"]
STEADY += ["--tracking.log_model", "false", "--model.step_s", "0.05"]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one core each; commands run beside the first."""
    from paceline.platform.launch import ray_settings  # noqa: F401 - before Ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture
def place(paceline_home: Path, tmp_path: Path) -> Path:
    """The folder that commands are called from."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "steady.yaml").write_text("model: steady.Steady\ndata: steady.Line\n")
    (folder / "steady.py").write_text((MODELS / "steady.py").read_text())
    return folder


def paceline(folder: Path, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "paceline", *map(str, words)]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def answer_of(process: subprocess.Popen[str], timeout_s: float = 150) -> tuple[int, str, str]:
    watchdog = threading.Timer(timeout_s, process.kill)
    watchdog.start()
    out, err = process.communicate()
    watchdog.cancel()
    return process.returncode, out, err


def when_at(folder: Path, step: int, act: Callable[[], object]) -> None:
    """Do something once a run's latest checkpoint is at a step or behind it."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        latest = folder / "latest.ckpt"
        if latest.exists() and read(latest)["global_step"] >= step:
            act()
            return
        time.sleep(0.05)
    raise AssertionError(f"{folder} never came to step {step}")


def the_run(home: Path) -> tuple[MlflowClient, Any]:
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return client, run


def numbers(home: Path) -> list[tuple[int, float]]:
    client, run = the_run(home)
    history = client.get_metric_history(run.info.run_id, "train/number")
    return sorted((point.step, point.value) for point in history)


def test_workers_on_two_nodes_write_one_run_with_the_load_of_both(
    cluster, place: Path, paceline_home: Path
):
    done = paceline(
        place, *STEADY, "--workers", 2, "--address", cluster.address, "--trainer.max_epochs", 2
    )
    code, out, err = answer_of(done)
    assert code == 0, err
    assert json.loads(out)["status"] == "finished"
    _, run = the_run(paceline_home)
    loads = {name.split("/")[1] for name in run.data.metrics if name.startswith("system/")}
    assert len(loads) == 2, loads
    assert numbers(paceline_home) == [(n, float(n)) for n in range(16)]
    storage = Path(json.loads(out)["checkpoint"]).parent
    assert not list(storage.glob(".*"))  # the probe's files are gone


def test_a_relative_storage_is_refused_on_several_nodes(cluster, place: Path):
    words = ["--workers", 2, "--address", cluster.address, "--storage", "here"]
    code, _, err = answer_of(paceline(place, *STEADY, *words))
    assert code == 2
    assert "absolute folder that all 2 nodes share" in err
    assert str(place / "here") in err


def test_an_elastic_run_goes_on_with_the_workers_there_is_room_for(
    cluster, place: Path, paceline_home: Path
):
    node = cluster.list_all_nodes()[1]
    words = ["--workers", "1:2", "--address", cluster.address, "--trainer.max_epochs", 6]
    run = paceline(place, *STEADY, *words, "--name", "elastic")
    when_at(paceline_home / "runs" / "elastic", 16, lambda: cluster.remove_node(node))
    code, _, err = answer_of(run, 240)
    assert code == 0, err
    assert "Starting again" in err
    _, found = the_run(paceline_home)
    assert found.info.status == "FINISHED"
    assert found.data.params["world_size"] == "2"
    assert found.data.tags["world_size"] == "1"  # what it went on with
    steps = [step for step, _ in numbers(paceline_home)]
    assert steps == list(range(len(steps)))


def test_a_run_waits_for_a_node_that_died_and_goes_on_once_it_is_back(
    cluster, place: Path, paceline_home: Path
):
    node = cluster.list_all_nodes()[1]
    words = ["--workers", 2, "--address", cluster.address, "--trainer.max_epochs", 6]
    run = paceline(place, *STEADY, *words, "--name", "waits")

    def die_and_return() -> None:
        cluster.remove_node(node)
        time.sleep(30)
        cluster.add_node(num_cpus=1)

    when_at(paceline_home / "runs" / "waits", 16, die_and_return)
    code, _, err = answer_of(run, 240)
    assert code == 0, err
    assert "room for 1 of 2 workers" in err
    assert the_run(paceline_home)[1].data.tags["attempt"] == "2"
    assert numbers(paceline_home) == [(n, float(n)) for n in range(48)]


def test_a_node_that_is_about_to_go_is_left_in_time(cluster, place: Path, paceline_home: Path):
    node = cluster.list_all_nodes()[1]
    cluster.add_node(num_cpus=1)
    words = ["--workers", 2, "--address", cluster.address, "--trainer.max_epochs", 8]
    words += ["--launch.max_failures", 0, "--name", "drained"]
    run = paceline(place, *STEADY, *words)
    when_at(paceline_home / "runs" / "drained", 8, lambda: drain(cluster.address, node.node_id))
    code, _, err = answer_of(run, 240)
    assert code == 0, err
    assert "had to leave" in err
    assert the_run(paceline_home)[1].data.tags["attempt"] == "2"
    assert numbers(paceline_home) == [(n, float(n)) for n in range(64)]


def drain(address: str, node_id: str) -> None:
    """Tell the cluster that a node will be taken away in a minute."""
    from ray._raylet import GcsClient

    PREEMPTION = 2
    deadline_ms = int((time.time() + 60) * 1000)
    accepted, reason = GcsClient(address).drain_node(node_id, PREEMPTION, "spot", deadline_ms)
    assert accepted, reason


def test_a_driver_that_is_killed_leaves_a_run_that_resume_brings_to_its_end(
    cluster, place: Path, paceline_home: Path
):
    words = ["--workers", 2, "--address", cluster.address, "--trainer.max_epochs", 6]
    run = paceline(place, *STEADY, *words, "--name", "orphan")
    folder = paceline_home / "runs" / "orphan"
    when_at(folder, 16, lambda: os.kill(run.pid, signal.SIGKILL))
    run.communicate()
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    code, out, err = answer_of(paceline(place, "resume", "orphan", "--json"))
    assert code == 0, err
    assert json.loads(out)["status"] == "finished"
    _, found = the_run(paceline_home)
    assert (found.info.status, found.data.tags["attempt"]) == ("FINISHED", "2")
    assert numbers(paceline_home) == [(n, float(n)) for n in range(48)]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host:6379"])
def test_a_wrong_address_is_one_message(address: str, place: Path, paceline_home: Path):
    words = ["--workers", 2, "--address", address, "--name", "nowhere"]
    code, out, err = answer_of(paceline(place, *STEADY, *words), 90)
    assert code == 2, err
    assert "`--address` must be the address of a running Ray cluster" in err
    assert "Traceback" not in err
    assert json.loads(out)["error"]["remedy"]
    assert not (paceline_home / "runs" / "nowhere").exists()

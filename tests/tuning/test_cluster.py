"""Sweeps on a running cluster of two nodes: shapes, concurrency, the death of a node.

The GPUs are only promised: Ray gives out what a node says it has, and tells each trial by
`CUDA_VISIBLE_DEVICES` which of them is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paceline.platform.tracking.store import Store
from paceline.tuning.journal import JOURNAL, read_rows

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RECIPE = """
seed_everything: 3
model: {{class_path: whereabouts.Whereabouts, init_args: {{notes: {notes}}}}}
data: {{class_path: ledger.Steps}}
optimizer: {{class_path: torch.optim.SGD, init_args: {{lr: 1.0}}}}
trainer: {{max_epochs: 4, accelerator: cpu, enable_progress_bar: false, log_every_n_steps: 1}}
sweep:
  metric: val/weight
  mode: max
  scheduler: none
  search: grid
  space: {{model.number: {{grid: [0, 1, 2, 3]}}}}
"""
MODELS = str(Path(__file__).parent / "models")


class Here:
    """A cluster on this machine, and the command beside it."""

    def __init__(self, cluster: Any, home: Path, folder: Path):
        self.cluster, self.home, self.folder = cluster, home, folder
        self.notes = folder / "notes"
        self.notes.mkdir()
        (folder / "where.yaml").write_text(RECIPE.format(notes=self.notes))

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "paceline", "sweep", "where.yaml", "--json", *words]
        command += ["--address", self.cluster.address]
        environment = {**os.environ, "PACELINE_HOME": str(self.home), "PYTHONPATH": MODELS}
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=log
            )

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.notes.iterdir())]

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()


@pytest.fixture
def here(paceline_home: Path, tmp_path: Path) -> Iterator[Here]:
    """A head without room for trials; the tests add the nodes."""
    from ray.cluster_utils import Cluster

    arguments = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False}
    arguments["object_store_memory"] = 100_000_000
    cluster = Cluster(initialize_head=True, connect=False, head_node_args=arguments)
    folder = tmp_path / "work"
    folder.mkdir()
    yield Here(cluster, paceline_home, folder)
    cluster.shutdown()


def add_node(here: Here, **resources: float) -> Any:
    node = here.cluster.add_node(object_store_memory=100_000_000, **resources)
    here.cluster.wait_for_nodes()
    return node


def test_four_trials_share_two_gpus_on_two_nodes_at_a_time(here: Here):
    for _ in range(2):
        add_node(here, num_cpus=1, num_gpus=1)
    shape = ("--gpus-per-trial", "0.5", "--cpus-per-trial", "0.5", "--name", "shared")
    shape += ("--model.pause_s", "1.0")  # longer than their processes take to start one by one
    out, _ = here.start("--trials", "4", *shape).communicate(timeout=200)
    assert json.loads(out)["finished"] == 4, here.log()
    assert Counter(note["gpus"] for note in here.told()) == {"0": 4}
    assert sorted(Counter(note["node"] for note in here.told()).values()) == [2, 2]
    rows = [*read_rows(here.home / "runs/shared", "val/weight", "max")]
    assert max(row.begun_at for row in rows) < min(row.ended_at for row in rows)


def test_a_shape_that_no_node_can_hold_is_refused_with_the_numbers(here: Here):
    add_node(here, num_cpus=1, num_gpus=1)
    process = here.start("--gpus-per-trial", "2", "--name", "large")
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 2
    what = json.loads(out)["error"]["what"]
    assert "2 GPU" in what
    assert "1 CPU and 1 GPU" in what
    assert not (here.home / "runs/large" / JOURNAL).exists()
    assert not here.told()


def test_a_trial_survives_the_death_of_its_node_and_goes_on_on_the_next_one(here: Here):
    node = add_node(here, num_cpus=1)
    process = here.start("--trials", "1", "--name", "moved", "--model.pause_s", "0.3")
    folder = here.home / "runs/moved"
    while (
        not folder.joinpath(JOURNAL).exists() or read_rows(folder, "val/weight", "max").epochs < 2
    ):
        assert process.poll() is None, here.log()
        time.sleep(0.05)
    here.cluster.remove_node(node, allow_graceful=False)
    add_node(here, num_cpus=1)
    out, _ = process.communicate(timeout=200)
    result = json.loads(out)
    assert (result["status"], result["finished"]) == ("finished", 1), here.log()
    (row,) = read_rows(folder, "val/weight", "max")
    assert (row.attempt, row.failures, row.epoch) == (2, 1, 4)
    assert len({note["node"] for note in here.told()}) == 2
    points = Store(result["tracking_uri"]).client.get_metric_history(row.run_id, "train/weight")
    assert sorted(p.step for p in points) == [*range(12)]

"""Commands as processes of their own in a folder of theirs, and what they leave in the record."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from mlflow import MlflowClient
from mlflow.entities import Run
from paceline.platform.errors import UserError
from paceline.platform.training.checkpoint_file import read

MODELS = Path(__file__).parent / "models"
NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}


def add_node(cluster: Any) -> Any:
    """One more node; Train counts the workers of a node by its address."""
    number = len(cluster.worker_nodes) + 2
    while any(node.node_ip_address == f"127.0.0.{number}" for node in cluster.worker_nodes):
        number += 1
    node = cluster.add_node(node_ip_address=f"127.0.0.{number}", **NODE)
    cluster.wait_for_nodes()
    return node


def train_workers() -> list[psutil.Process]:
    """The Train workers that descend from here, whoever else may use Ray on this machine."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process)
    return found


@dataclass
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Its one object on standard output."""
        return json.loads(self.out)


class Work:
    """A folder with a config and its module, a home, and the commands that were started there.

    Args:
        home: `$PACELINE_HOME`, which the processes inherit.
        folder: Where the commands are called.
        store: MLflow's store; default: the home's own.
    """

    def __init__(self, home: Path, folder: Path, store: str = ""):
        self.home, self.folder = home, folder
        self.client = MlflowClient(store or f"sqlite:///{home}/mlflow.db")
        self._started: list[subprocess.Popen[str]] = []
        folder.mkdir()
        (folder / "steady.yaml").write_text("model: steady.Steady\ndata: steady.Line\n")
        (folder / "steady.py").write_text((MODELS / "steady.py").read_text())

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Start `paceline WORDS`; what it tells goes on in one file."""
        command = [sys.executable, "-m", "paceline", *map(str, words)]
        with self.log.open("a") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._started.append(process)
        return process

    def fit(self, name: str, *words: object) -> subprocess.Popen[str]:
        """Start a run that logs each of its steps: 8 an epoch with two workers."""
        flags = ["--seed", 1, "--trainer.log_every_n_steps", 1, "--tracking.log_model", "false"]
        return self.start("fit", "steady.yaml", "--json", "--name", name, *flags, *words)

    @property
    def log(self) -> Path:
        """What all commands have told."""
        return self.folder / "log.txt"

    def end_of(self, process: subprocess.Popen[str], timeout_s: float = 150) -> Ended:
        """Wait for a command."""
        try:
            out, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end in {timeout_s:g} s:\n{self.log.read_text()}") from None
        return Ended(process.returncode, out, self.log.read_text())

    def step_of(self, name: str) -> int:
        """The step of a run's latest checkpoint; 0 before the first."""
        try:
            return read(self.home / "runs" / name / "latest.ckpt")["global_step"]
        except UserError:
            return 0

    def when_at(
        self,
        name: str,
        step: int,
        process: subprocess.Popen[str],
        act: Callable[[], object],
        timeout_s: float = 100,
    ) -> None:
        """Do something once a run's latest checkpoint is at a step or behind it."""
        deadline = time.monotonic() + timeout_s
        while self.step_of(name) < step:
            assert process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"not at {step}:\n{self.log.read_text()}"
            time.sleep(0.05)
        act()

    def run(self) -> Run:
        """The one run that there is."""
        experiments = [found.experiment_id for found in self.client.search_experiments()]
        (run,) = self.client.search_runs(experiments)
        return run

    def points(self, metric: str) -> list[tuple[int, float]]:
        """A metric's points in the one run, by step."""
        history = self.client.get_metric_history(self.run().info.run_id, metric)
        return sorted((point.step, point.value) for point in history)

    def end(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

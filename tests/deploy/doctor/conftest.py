"""A cluster of two nodes on this machine, one of which is ill in every way that a flag allows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paceline.tests.deploy.doctor.visits import (
    NODE,
    Doctor,
    Sick,
    Visit,
    damaged_data,
    open_token,
    packages_of_others,
)


@pytest.fixture
def doctor(paceline_home: Path, tmp_path: Path) -> Doctor:
    """`paceline doctor --json WORDS` in a process of its own, with further variables."""

    def visit(*words: object, before: str = "", **variables: str) -> Visit:
        command = [sys.executable, "-m", "paceline", "doctor", "--json", *map(str, words)]
        if before:  # in a shell that first makes the fault
            command = ["unshare", "-m", "sh", "-c", f'{before} && exec "$@"', "sh", *command]
        environment = {**os.environ, **variables}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert len(done.stdout.splitlines()) == 1, done.stdout + done.stderr
        return Visit(done.returncode, json.loads(done.stdout), done.stderr)

    return visit


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sick]:
    """A node with another version of MLflow and `lightning` beside ours, more promised than it has,
    damaged data, an open token file, pickles let in, and a network that is not there.
    """
    from paceline.platform.launch import ray_settings as ray_settings
    from ray.cluster_utils import Cluster

    folder = tmp_path_factory.mktemp("sick")
    made: Any = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    made.add_node(
        **NODE | {"num_cpus": (os.cpu_count() or 1) + 1, "num_gpus": 1, "memory": 10**14},
        node_ip_address="127.0.0.2",
        env_vars={
            "PYTHONPATH": str(packages_of_others(folder / "packages")),
            "PACELINE_DATA": str(damaged_data(folder / "data")),
            "RAY_AUTH_TOKEN_PATH": str(open_token(folder / "token")),
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
            "GLOO_SOCKET_IFNAME": "no-such-network",
            "RAY_prestart_worker_first_driver": "0",
        },
    )
    made.wait_for_nodes()
    yield Sick(made.address, made)
    made.shutdown()

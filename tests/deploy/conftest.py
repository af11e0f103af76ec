"""What the tests of this wing share: manifests that are rendered once, and one cluster for real."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from paceline.deploy.cluster_profile import Profile
from paceline.deploy.render import TARGETS, render

NEEDED = [
    "tracking_uri=http://mlflow.example.org:5000",
    "head_ip=10.0.0.1",
    "worker_ips=10.0.0.2,10.0.0.3,node-4.example.org",
]
GPUS = [*NEEDED, "workers=3", "gpus=2", "cpus=16", "memory_gib=64", "name=team-a"]
GPUS += ["partition=gpu", "account=lab", "s3_endpoint=http://store.example.org:9000"]
GPUS += ["image=registry.example.org/team/paceline:1.2", "command=fit resnet20-cifar10"]


@pytest.fixture(scope="session")
def rendered() -> dict[tuple[str, str], str]:
    """(target, file) -> text, of all targets at their defaults."""
    return {(t, name): text for t in TARGETS for name, text in render(t, None, NEEDED).items()}


@pytest.fixture(scope="session")
def rendered_with_gpus() -> dict[tuple[str, str], str]:
    """The same of another set of values."""
    return {(t, name): text for t in TARGETS for name, text in render(t, None, GPUS).items()}


@dataclass
class Started:
    """A cluster that `paceline cluster up` started: two worker nodes of one CPU, beside a head.

    Args:
        home: Its `$PACELINE_HOME`.
        profile: How it is used.
        environment: What a process has to have in its environment to use it, secrets included.
    """

    home: Path
    profile: Profile
    environment: dict[str, str]

    def run(self, *words: object, cwd: Path | None = None, timeout_s: float = 200) -> Ended:
        """`paceline WORDS`, as a process that has the cluster's home and environment."""
        done = subprocess.run(
            [sys.executable, "-m", "paceline", *map(str, words)],
            cwd=cwd or self.home,
            env={**os.environ, **self.environment, "PACELINE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


@dataclass
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def local_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """One cluster for all tests that only use it; who kills parts of one starts their own."""
    for name in ("ray", "boto3", "moto", "psycopg"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install 'paceline[test]'")
    home = tmp_path_factory.mktemp("local-cluster")
    folder = home / "cluster"
    started = Started(home, Profile(*[""] * 8), {})
    done = started.run("cluster", "up", "--nodes", 2, "--cpus", 1, timeout_s=400)
    assert done.code == 0, done.err
    started.profile = Profile(**json.loads((folder / "profile.json").read_text()))
    started.environment = environment_of(started.profile)
    yield started
    identity = json.loads((folder / "local.json").read_text())["id"]
    done = started.run("cluster", "down")
    assert done.code == 0, done.err
    from paceline.deploy.local.processes import of_cluster

    assert of_cluster(identity) == {}
    assert not folder.exists()


def environment_of(profile: Profile) -> dict[str, str]:
    """The variables of a cluster's profile."""
    from paceline.deploy.cluster_profile import environment

    return environment(profile)

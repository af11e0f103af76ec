"""A cluster whose parts are killed: `status` tells, `up` mends, `down` leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from paceline.deploy.local.cluster import LocalCluster
from paceline.deploy.local.processes import of_cluster
from paceline.platform.ports import is_free
from paceline.tests.deploy.conftest import Ended

pytestmark = pytest.mark.slow


class Home:
    """A fresh home, and the command in it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def run(self, *words: object) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "paceline", "cluster", *map(str, words)],
            env={**os.environ, "PACELINE_HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    @property
    def cluster(self) -> LocalCluster:
        return LocalCluster(**json.loads((self.folder / "cluster" / "local.json").read_text()))

    def dead(self) -> set[str]:
        told = json.loads(self.run("status", "--json").out)
        return {part["name"] for part in told["parts"] if not part["alive"]}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    for name in ("ray", "moto", "boto3"):
        pytest.importorskip(name, reason="needs pip install 'paceline[test]'")
    home = Home(tmp_path / "home")
    home.folder.mkdir()
    yield home
    if (home.folder / "cluster").exists():
        assert home.run("down").code == 0


def kill(cluster: LocalCluster, *parts: str) -> int:
    """As the kernel does when memory is short: without asking."""
    found = [p for p, part in of_cluster(cluster.id).items() if part in parts]
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(found, timeout=10)
    return len(found)


def new_experiment(cluster: LocalCluster, name: str | None = None) -> list[str]:
    """Names of the experiments, after one more was made."""
    from paceline.deploy.cluster_profile import environment

    code = "import mlflow, sys; [mlflow.create_experiment(n) for n in sys.argv[1:]];"
    code += "print(sorted(e.name for e in mlflow.search_experiments()))"
    given = environment(cluster.profile())
    done = subprocess.run(
        [sys.executable, "-c", code, *([name] if name else [])],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.replace("'", '"'))


def test_what_is_killed_is_told_and_comes_back_with_its_record(home: Home, monkeypatch):
    monkeypatch.setenv("PACELINE_HOME", str(home.folder))
    assert home.run("up", "--nodes", 1, "--cpus", 1).code == 0
    cluster = home.cluster
    assert home.dead() == set()
    assert new_experiment(cluster, "before") == ["Default", "before"]

    dying = {"mlflow", "worker-1", *(["postgresql"] if cluster.database else [])}
    assert kill(cluster, *dying) > 2
    assert home.dead() == dying
    done = home.run("up")
    assert done.code == 0, done.err
    assert "The cluster is up again" in done.out
    assert home.dead() == set()
    assert new_experiment(cluster) == ["Default", "before"]

    kill(cluster, "head", "s3")
    assert home.dead() >= {"head", "s3"}
    done = home.run("up", "--nodes", 2)
    assert done.code == 0, done.err
    assert home.dead() == set()
    assert home.run("kill", "worker-2").code == 0
    assert home.dead() == {"worker-2"}
    assert home.run("kill", "worker-2").code == 2

    ports = list(cluster.ports.values())
    done = home.run("down")
    assert done.code == 0, done.err
    assert_nothing_is_left(home, cluster)
    assert all(map(is_free, ports))
    assert home.run("down").code == 2


def test_down_after_everything_was_killed_leaves_nothing(home: Home):
    assert home.run("up", "--nodes", 1, "--cpus", 1).code == 0
    cluster = home.cluster
    kill(cluster, *cluster.parts)
    done = home.run("down")
    assert done.code == 0, done.err
    assert_nothing_is_left(home, cluster)


def test_a_start_that_is_interrupted_leaves_nothing(home: Home):
    command = [sys.executable, "-m", "paceline", "cluster", "up", "--nodes", "1", "--cpus", "1"]
    up = subprocess.Popen(
        command,
        env={**os.environ, "PACELINE_HOME": str(home.folder)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert up.stderr is not None
    assert up.stderr.readline()  # the first part is up
    cluster = home.cluster
    assert home.run("up").code == 2  # while the first is at it
    time.sleep(3)  # amid the start of Ray and MLflow
    up.send_signal(signal.SIGINT)
    assert up.wait(60) == 130, up.stderr.read()
    up.stderr.close()
    assert_nothing_is_left(home, cluster)


def assert_nothing_is_left(home: Home, cluster: LocalCluster) -> None:
    assert of_cluster(cluster.id) == {}
    assert list(home.folder.iterdir()) == []
    assert not Path(cluster.runtime).exists()
    assert not cluster.database or not Path(cluster.database).exists()
    assert not [p for p in Path("/dev/shm").glob("*") if cluster.runtime in str(p)]


def test_two_homes_may_start_a_cluster_at_the_same_moment(tmp_path: Path):
    homes = [tmp_path / "one", tmp_path / "two"]
    command = [sys.executable, "-m", "paceline", "cluster"]
    environments = [{**os.environ, "PACELINE_HOME": str(home)} for home in homes]
    starting = [
        subprocess.Popen([*command, "up", "--nodes", "1"], env=e, stderr=subprocess.PIPE, text=True)
        for e in environments
    ]
    try:
        told = [process.communicate(timeout=200)[1] for process in starting]
        assert [process.returncode for process in starting] == [0, 0], told
        found = [json.loads((home / "cluster" / "local.json").read_text()) for home in homes]
        assert not set(found[0]["ports"].values()) & set(found[1]["ports"].values())
    finally:
        for environment in environments:
            done = subprocess.run([*command, "down"], env=environment, capture_output=True)
            assert done.returncode == 0

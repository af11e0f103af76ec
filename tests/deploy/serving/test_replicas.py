"""`paceline serve --replicas`: several processes behind one door, and one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from paceline.platform.evaluation import predict
from paceline.platform.result import RunResult
from paceline.tests.deploy.conftest import Started
from paceline.tests.deploy.serving.conftest import Serve
from paceline.tests.deploy.serving.test_serve import csv_scores, load, scores_of, told_by, trained

pytestmark = pytest.mark.slow


def replicas_of(pid: int) -> list[psutil.Process]:
    """The processes that hold the model."""
    found = []
    for process in psutil.process_iter(["name", "cmdline", "ppid"]):
        words = " ".join(process.info["cmdline"] or [])
        if words.startswith("ray::ServeReplica:paceline-serve") and pid in {
            parent.pid for parent in process.parents()
        }:
            found.append(process)
    return found


def test_a_killed_replica_and_the_end_lose_nothing(serve: Serve, mlp: RunResult):
    _, x = trained(mlp)
    with serve(mlp.name, "--replicas", 2, timeout=200) as served:
        found = scores_of(served.ask({"inputs": x.tolist()}))
        written = csv_scores(predict(mlp.name).extra["predictions"])
        np.testing.assert_allclose(found, written, rtol=0, atol=1e-6)
        status, answer = served.ask({"inputs": [[0.0] * 3]})
        assert (status, set(answer)) == (400, {"error_code", "message"})
        assert served.ask({"inputs": [[0.0] * 64]}, Host="evil.example.org")[0] == 403
        assert served.ask(path="/ping")[0] == served.ask(path="/version")[0] == 200

        [first, second] = replicas_of(served.process.pid)
        clients = load(served.port, 8, 90, "keep")
        time.sleep(4)
        os.kill(first.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(replicas_of(served.process.pid)) < 2 or not second.is_running():
            assert time.monotonic() < deadline, "Ray Serve starts no replica in its place"
            time.sleep(0.5)
        time.sleep(2)
        family = psutil.Process(served.process.pid).children(recursive=True)
        code, answer, log = served.end(signal.SIGTERM)
        told = told_by(clients)
    sys.stderr.write(json.dumps({**told, "retried": answer["retried"]}) + "\n")
    assert code == 143
    assert told["lost"] == told["wrong"] == told["hung"] == 0, (told, log)
    assert set(told["statuses"]) == {"200"}
    assert told["sent"] == told["answered"] == answer["requests"] - 5
    assert answer["failed"] == 0
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_nothing_but_the_door_listens_to_http(serve: Serve, mlp: RunResult):
    """Ray's own ports ask for its token; Serve's proxy, which asks for nothing, is not started."""
    with serve(mlp.name, "--replicas", 1, timeout=200) as served:
        family = psutil.Process(served.process.pid).children(recursive=True)
        names = " ".join(" ".join(process.cmdline()) for process in family)
        assert "ProxyActor" not in names
        assert "ServeReplica" in names


def serving_processes() -> dict[psutil.Process, int]:
    """Whatever Ray Serve runs on this machine, and the number of its node's process."""
    return {
        process: process.ppid()
        for process in psutil.process_iter(["cmdline"])
        if " ".join(process.info["cmdline"] or []).startswith("ray::Serve")
    }


@pytest.mark.xdist_group("local-cluster")
@pytest.mark.timeout(300)
def test_replicas_are_spread_over_a_cluster_and_leave_it(
    serve: Serve, mlp: RunResult, local_cluster: Started, monkeypatch: pytest.MonkeyPatch
):
    for name, value in local_cluster.environment.items():
        monkeypatch.setenv(name, value)
    address = local_cluster.profile.address
    module, x = trained(mlp)
    with torch.no_grad():
        expected = module(torch.from_numpy(x))
    before = serving_processes()
    with serve(mlp.name, "--replicas", 2, "--address", address, timeout=200) as served:
        found = scores_of(served.ask({"inputs": x.tolist()}))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        ours = {p: node for p, node in serving_processes().items() if p not in before}
        replicas = {p for p in ours if p.cmdline()[0].startswith("ray::ServeReplica")}
        assert len(replicas) == len({ours[p] for p in replicas}) == 2  # each on a node of its own
        told = told_by(load(served.port, 4, 5, "keep"))
        code, answer, log = served.end(signal.SIGTERM)
    assert code == 143
    assert told["lost"] == told["wrong"] == told["hung"] == 0, (told, log)
    assert told["answered"] == answer["requests"] - 1 > 100
    _, alive = psutil.wait_procs(list(ours), timeout=20)
    assert alive == []
    command = [sys.executable, "-m", "paceline", "serve", mlp.name, "--replicas", "9"]
    done = subprocess.run([*command, "--address", address], capture_output=True, text=True)
    assert done.returncode == 2
    assert "`--replicas` must be at most the 2 CPU cores of the cluster" in done.stderr


def test_a_cluster_that_is_not_there_is_one_message(mlp: RunResult, tmp_path: Path):
    words = ["serve", mlp.name, "--replicas", "2", "--address", "127.0.0.1:1", "--port", "5999"]
    done = subprocess.run(
        [sys.executable, "-m", "paceline", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "must be the address of a running Ray cluster" in done.stderr
    assert "Traceback" not in done.stderr

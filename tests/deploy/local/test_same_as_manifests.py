"""What the manifests of a real cluster say of security is what the local one does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from paceline.deploy.local import ray_nodes, services
from paceline.deploy.local.cluster import LocalCluster
from paceline.deploy.manifests.parts import MLFLOW_SAFETY

CLUSTER = LocalCluster("id", 2, 1, {"gcs": 1, "dashboard": 2, "mlflow": 5000, "s3": 4}, "/tmp/x")
DIFFERENT = {"--host", "--port", "--workers", "--backend-store-uri", "--artifacts-destination"}


@pytest.fixture
def compose(rendered: dict[tuple[str, str], str]) -> dict[str, Any]:
    return yaml.safe_load(rendered["compose", "compose.yaml"])["services"]


def flags(command: list[str]) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in command if word.startswith("--"))


def test_mlflow_is_started_with_the_same_flags(compose: dict[str, Any]):
    local = flags(services._mlflow_command(CLUSTER, "sqlite:///x"))
    theirs = flags(compose["mlflow"]["command"])
    assert set(local) == set(theirs)
    same = set(local) - DIFFERENT - {"--allowed-hosts", "--cors-allowed-origins"}
    assert {name: local[name] for name in same} == {name: theirs[name] for name in same}
    assert local["--host"] == "127.0.0.1"
    for hosts in (local["--allowed-hosts"], theirs["--allowed-hosts"]):
        assert "*" not in hosts
        assert set(re.findall(r":(\d+)", hosts)) == {"5000"}


def test_mlflow_has_accounts_and_neither_pickles_nor_jobs(compose: dict[str, Any]):
    environment = compose["mlflow"]["environment"]
    assert MLFLOW_SAFETY.items() <= environment.items()
    assert MLFLOW_SAFETY["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert MLFLOW_SAFETY["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert flags(compose["mlflow"]["command"])["--app-name"] == "basic-auth"


def test_no_secret_has_a_default(compose: dict[str, Any]):
    secret = re.compile(r"TOKEN$|PASSWORD|SECRET|ACCESS_KEY")
    found = {
        (name, key): value
        for name, service in compose.items()
        for key, value in service.get("environment", {}).items()
        if secret.search(key)
    }
    assert len(found) > 10
    open_ones = {k: v for k, v in found.items() if not re.fullmatch(r"\$\{\w+:\?[^}]+\}", v)}
    assert open_ones == {}


def test_every_node_of_ray_asks_for_the_token(compose: dict[str, Any], monkeypatch, tmp_path: Path):
    for name in ("ray-head", "ray-worker"):
        assert compose[name]["environment"]["RAY_AUTH_MODE"] == "token"
    started = {}

    def start(cluster, part, command, environment, log):
        started[part] = (command, environment)
        raise RuntimeError("not in this test")

    monkeypatch.setattr(ray_nodes, "start", start)
    monkeypatch.setattr(ray_nodes, "node_environment", lambda profile: {"RAY_AUTH_MODE": "token"})
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path))
    for begin in (ray_nodes.start_head, lambda c: ray_nodes.start_worker(c, "worker-1")):
        with pytest.raises(RuntimeError, match="not in this test"):
            begin(CLUSTER)
    for _, environment in started.values():
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert "--dashboard-host=127.0.0.1" in started["head"][0]
    assert "--num-cpus=0" in started["head"][0]
    assert "--num-cpus=0" in compose["ray-head"]["command"]  # a head trains nothing in either


def test_only_pages_are_published_and_on_the_loopback(compose: dict[str, Any]):
    ports = [port for service in compose.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)

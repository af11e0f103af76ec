"""The cluster that `paceline cluster up` starts is well, from every node of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from paceline.tests.deploy.conftest import Started


@pytest.mark.slow
def test_the_cluster_that_this_home_knows_is_well(local_cluster: Started):
    done = local_cluster.run("doctor", "--json")
    found = json.loads(done.out)
    rows = {row["name"]: row for row in found["rows"]}
    red = {name: row for name, row in rows.items() if row["state"] == "FAIL"}
    if _has_open_token():  # of whoever runs the tests, and rightly red
        red.pop("tokens", None)
    assert red == {}
    assert found["address"] == local_cluster.profile.address
    assert len(found["nodes"]) == 3
    for name in ("nodes", "versions", "all-reduce", "tracking", "tracking host check"):
        assert rows[name]["state"] == "ok", rows[name]
    assert rows["tracking password"]["state"] == "ok"  # without one nobody is let in
    assert "from 3 nodes" in rows["storage"]["found"]
    assert "s3://" in rows["storage"]["found"]
    secret = local_cluster.environment["MLFLOW_TRACKING_PASSWORD"]
    assert secret not in done.out + done.err


def test_a_plan_for_the_cluster_counts_its_nodes_and_starts_nothing(local_cluster: Started):
    before = _runs(local_cluster)
    address = local_cluster.profile.address
    words = ["--trials", 4, "--seed", 1, "--measure", 1, "--address", address]
    done = local_cluster.run("plan", "mlp", "--json", *words)
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    assert plan["where"] == address
    assert len(plan["nodes"]) == 3
    cpus = sum(node.get("CPU", 0) for node in plan["nodes"])
    assert (plan["width"], plan["waves"]) == (cpus, -(-4 // int(cpus)))
    assert any("as fast as those here" in one for one in plan["assumed"])
    assert _runs(local_cluster) == before


def _runs(cluster: Started) -> set[str]:
    """All experiments of the cluster's tracking server, and all names in the home."""
    profile, password = cluster.profile, cluster.environment["MLFLOW_TRACKING_PASSWORD"]
    uri = f"{profile.tracking_uri}/api/2.0/mlflow/experiments/search?max_results=1000"
    answer = requests.get(uri, auth=(profile.tracking_username, password), timeout=10)
    found = {one["name"] for one in answer.json().get("experiments", [])}
    return found | {path.name for path in cluster.home.glob("runs/*")}


def _has_open_token() -> bool:
    path = Path("~/.ray/auth_token").expanduser()
    return path.exists() and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)

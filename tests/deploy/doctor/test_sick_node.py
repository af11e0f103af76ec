"""A real cluster whose second node is ill: each row is red for that node, and names it alone."""

from __future__ import annotations

import os
import signal
import time

import pytest
from paceline.tests.deploy.doctor.visits import Doctor, Sick, Visit

pytestmark = [pytest.mark.ray, pytest.mark.slow]
# row -> what it says of the ill node, what its remedy names
RED = {
    "versions": ("mlflow 2.0.0 is outside", "pip install 'mlflow"),
    "lightning": ("lightning stands beside pytorch_lightning", "pip uninstall lightning"),
    "CPU": ("Ray promises", "--num-cpus="),
    "GPU": ("torch 0, Ray 1", "--num-gpus=0"),
    "memory": ("Ray promises 100 TB", "--memory="),
    "all-reduce": ("no-such-network", "GLOO_SOCKET_IFNAME"),
    "tokens": ("can be read by others (mode 0644)", "chmod 600"),
    "data sets": ("fashion-mnist: ", "paceline data get"),
    "pickles": ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1", "unset"),
}
WELL = ("cluster", "nodes", "disk", "shared memory", "storage", "tracking", "clocks")


@pytest.fixture(scope="module")
def seen(sick: Sick) -> dict[str, Visit]:
    """The one visit that the tests of this file share, once it was made."""
    return {}


@pytest.fixture
def visit(seen: dict[str, Visit], sick: Sick, doctor: Doctor) -> Visit:
    """The doctor's visit to both nodes."""
    if not seen:
        seen["once"] = doctor("--address", sick.address)
    return seen["once"]


def ill(sick: Sick) -> str:
    return sick.node.node_id[:8]


@pytest.mark.parametrize("row", RED)
def test_a_fault_of_one_node_is_red_and_names_it(row: str, visit: Visit, sick: Sick):
    found, remedy = RED[row]
    told = visit.rows[row]
    assert told["state"] == "FAIL", told
    assert found in told["found"]
    assert ill(sick) in told["found"]
    assert remedy in told["remedy"]


@pytest.mark.parametrize("row", WELL)
def test_what_is_well_on_both_nodes_is_told_so(row: str, visit: Visit):
    assert visit.rows[row]["state"] == "ok", visit.rows[row]


def test_red_rows_are_told_by_the_exit_code(visit: Visit):
    assert visit.code == 1
    assert not visit.answer["ok"]
    assert visit.answer["counts"]["FAIL"] == len(RED)
    assert len(visit.answer["nodes"]) == 2


def test_a_rank_that_fails_is_told_without_waiting_for_the_other(visit: Visit):
    assert visit.answer["seconds"] < 55


def test_a_node_that_hangs_costs_one_limit_and_hangs_no_other_row(sick: Sick, doctor: Doctor):
    name = ill(sick)
    raylet = sick.node.all_processes["raylet"][0].process.pid
    os.kill(raylet, signal.SIGSTOP)
    started = time.monotonic()
    try:
        found = doctor("--address", sick.address, "--timeout", 10)
    finally:
        os.kill(raylet, signal.SIGCONT)
    assert found.rows["nodes"]["state"] == "FAIL"
    assert name in found.rows["nodes"]["found"]
    assert "no answer in 10 s" in found.rows["nodes"]["found"]
    assert found.rows["CPU"]["state"] == "ok"  # the other node still answers
    assert time.monotonic() - started < 90

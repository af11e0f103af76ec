"""What is said of facts that cannot be arranged on every machine: GPUs, limits, clocks, faults."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from paceline.deploy.doctor import data, hardware, on_node, secrecy, software
from paceline.deploy.doctor.examination import looked
from paceline.deploy.doctor.machine import ThisMachine, within
from paceline.deploy.doctor.row import FAIL, OK, SKIPPED, WARN, Finding, Row, of_nodes

GPUS = {"driver": 2, "torch": 2, "names": [], "build": "13.0", "error": ""}


@pytest.mark.parametrize(
    ("found", "promised", "state"),
    [
        ({}, {"GPU": 2}, OK),
        ({}, None, OK),
        ({}, {"GPU": 1}, WARN),
        ({}, {"GPU": 3}, FAIL),
        ({"torch": 0, "build": None}, {"GPU": 0}, FAIL),
        ({"driver": 0, "torch": 0}, {}, SKIPPED),
        ({"torch": None, "error": "ImportError: no torch"}, {}, FAIL),
    ],
)
def test_gpus_of_driver_torch_and_ray_must_agree(found: dict, promised: dict | None, state: str):
    (finding,) = hardware.judge_graphics(GPUS | found, promised)
    assert finding.state == state
    assert bool(finding.remedy) == (state in (WARN, FAIL))


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_both_kinds_of_control_group_tell_their_cpus(
    files: dict[str, str], cpus: float | None, tmp_path: Path
):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert on_node.processors(str(tmp_path))["quota"] == cpus


def test_a_limit_of_memory_is_what_counts(tmp_path: Path):
    (tmp_path / "memory.max").write_text("2000000000\n")
    found = on_node.memory(str(tmp_path))
    assert found["limit"] == 2_000_000_000
    (finding,) = hardware.judge_memory(found, {"memory": 3e9})
    assert finding.state == FAIL
    (tmp_path / "memory.max").write_text("max\n")
    assert on_node.memory(str(tmp_path))["limit"] is None


def test_more_cpus_promised_than_the_control_group_gives_is_red():
    (finding,) = hardware.judge_processors({"cpus": 64, "usable": 64, "quota": 2.0}, {"CPU": 64})
    assert finding.state == FAIL
    assert "--num-cpus=2" in finding.remedy


@pytest.mark.parametrize(
    ("ahead", "uncertain", "state"),
    [(0.1, 0.2, OK), (-1.9, 0.0, OK), (5.0, 0.5, WARN), (-60.0, 0.5, FAIL), (11.0, 2.0, WARN)],
)
def test_a_clock_is_red_once_it_is_surely_off(ahead: float, uncertain: float, state: str):
    (finding,) = hardware.judge_clocks({"node": (ahead, uncertain)})["node"]
    assert finding.state == state


def test_versions_that_differ_between_nodes_name_both():
    wanted = software.requirements()
    here = on_node.installed(software.packages())
    found = software.judge_versions({"a": here, "b": {**here, "ray": "2.61.0"}}, wanted)
    assert [one.state for one in found["a"]] == [OK]
    assert "ray 2.61.0 (a: " in found["b"][0].text
    found = software.judge_versions({"a": here, "b": {**here, "torch": None}}, wanted)
    assert "torch is missing" in found["b"][0].text


def test_a_node_without_this_package_is_told_so():
    here = on_node.installed(software.packages())
    found = software.judge_versions({"a": {**here, "paceline": None}}, {})
    assert "paceline is not installed" in found["a"][0].text


def test_data_that_only_some_nodes_have_is_red_where_trials_may_run():
    whole = [{"name": "mnist", "where": "/x", "state": "verified"}]
    missing = [{"name": "mnist", "where": "", "state": "missing"}]
    found = data.judge_data({"a": whole, "b": missing, "head": missing}, ["a", "b"])
    assert [found[node][0].state for node in ("a", "b", "head")] == [OK, FAIL, OK]
    assert "paceline data get mnist" in found["b"][0].remedy


@pytest.mark.parametrize(
    ("found", "is_reachable", "state"),
    [
        ({"mode": "token", "has_token": True}, True, OK),
        ({"mode": "token", "path": "/nowhere/token"}, True, FAIL),
        ({"mode": "disabled"}, True, FAIL),
        ({"mode": "disabled"}, False, WARN),
    ],
)
def test_a_cluster_without_token_is_red_where_others_reach_it(
    found: dict, is_reachable: bool, state: str
):
    told = {"files": {}, "mode": "", "has_token": False, "path": ""} | found
    (finding,) = secrecy.judge_secrets(told, is_cluster=True, is_reachable=is_reachable)
    assert finding.state == state


def test_a_row_that_fails_is_a_red_row_and_no_traceback():
    def look() -> Row:
        raise KeyError("the slip")

    row = looked("disk", look, 5)
    assert (row.name, row.state) == ("disk", FAIL)
    assert "KeyError" in row.found
    assert row.remedy


def test_a_row_that_hangs_is_left_alone_after_its_time():
    started = time.monotonic()
    row = looked("disk", lambda: time.sleep(3) or Row("disk", OK, ""), 0.2)
    assert time.monotonic() - started < 2
    assert "no answer in 0.2 s" in row.found
    assert "--timeout" in row.remedy


def test_a_question_that_fails_on_this_machine_is_told():
    answers = ThisMachine().ask(lambda: 1 / 0, timeout_s=5)
    assert answers.silent == {"this machine": "ZeroDivisionError: division by zero"}
    assert within(5, lambda: 7) == (7, None)


def test_one_row_tells_the_worst_and_names_whose_it_is():
    well, ill = Finding(OK, "fine"), Finding(FAIL, "ill", "cure")
    row = of_nodes("disk", {"a": [well], "b": [ill, well], "c": [ill]})
    assert row == Row("disk", FAIL, "b, c: ill", "cure")
    assert of_nodes("disk", {"a": [well], "b": [well]}) == Row("disk", OK, "fine")
    assert of_nodes("disk", {}).state == SKIPPED

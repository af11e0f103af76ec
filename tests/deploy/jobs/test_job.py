"""Jobs by their names, and what their ends mean; no cluster."""

from __future__ import annotations

from typing import Any

import pytest
from paceline.deploy.jobs.job import NAME, Job, check_name, find_job, free_id
from paceline.platform.errors import UserError


def job(job_id: str, status: str = "SUCCEEDED", name: str | None = None, **more: Any) -> Job:
    facts = {"code": 0, "message": "", "has_begun": True, "started_ms": 0, **more}
    return Job(job_id, status, {NAME: job_id if name is None else name}, **facts)


@pytest.mark.parametrize(
    ("status", "code", "answer"),
    [
        *[("SUCCEEDED", 0, 0), ("SUCCEEDED", None, 0), ("FAILED", 2, 2), ("FAILED", 1, 1)],
        *[("FAILED", None, 1), ("FAILED", -9, 137), ("STOPPED", None, 143)],
    ],
)
def test_the_exit_code_is_that_of_the_command(status: str, code: int | None, answer: int):
    assert job("a", status, code=code).exit_code == answer


def test_ids_count_on():
    jobs = [job("a"), job("a.2", name="a"), job("b")]
    assert [free_id(jobs, name) for name in ("a", "b", "c")] == ["a.3", "b.2", "c"]


def test_a_name_that_a_running_job_works_on_is_refused_to_all():
    for starts in (True, False):
        with pytest.raises(UserError) as caught:
            check_name([job("a", "RUNNING", code=None)], "a", starts=starts)
        assert "paceline cancel a" in caught.value.remedy


def test_a_name_of_an_earlier_run_is_refused_to_a_new_one_and_can_go_on():
    jobs = [job("a", "STOPPED", code=None)]
    with pytest.raises(UserError) as caught:
        check_name(jobs, "a", starts=True)
    assert "paceline submit resume a" in caught.value.remedy
    check_name(jobs, "a", starts=False)


@pytest.mark.parametrize(
    "nothing",
    [
        job("a", "FAILED", code=2),
        job("a", "FAILED", code=None, has_begun=False),
        job("a", "STOPPED", code=None, has_begun=False),
    ],
)
def test_a_name_whose_job_started_nothing_is_free(nothing: Job):
    check_name([nothing], "a", starts=True)


def test_a_job_is_found_by_its_id_or_by_its_runs_name():
    jobs = [job("a"), job("a.2", "RUNNING", name="a", code=None), job("b")]
    assert find_job(jobs, "a").id == "a.2"  # the one that runs
    assert find_job(jobs, "a.2").id == "a.2"
    assert find_job([job("a"), job("a.2", name="a")], "a").id == "a"
    with pytest.raises(UserError) as caught:
        find_job(jobs, "bb")
    assert "b" in caught.value.remedy

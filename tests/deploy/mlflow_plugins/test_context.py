"""The tags of runs that are started inside ours: from variables alone, light, and never raising."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from paceline.deploy.mlflow_plugins.context import JobContext
from paceline.platform.run_context import known, told


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PACELINE_") or name in ("RANK", "LOCAL_RANK", "RAY_JOB_ID"):
            monkeypatch.delenv(name)


def test_a_process_that_is_none_of_ours_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")  # torchrun's alone
    assert not JobContext().in_context()


def test_what_was_told_becomes_tags_and_is_taken_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PACELINE_JOB", "j")
    monkeypatch.setenv("RAY_JOB_ID", "01000000")
    with told(sweep="s", trial="003", run="s-003", run_id="abc", rank=1):
        assert JobContext().in_context()
        tags = JobContext().tags()
        assert tags.pop("paceline.node")
        assert tags == {
            "paceline.job": "j",
            "paceline.sweep": "s",
            "paceline.trial": "003",
            "paceline.run": "s-003",
            "paceline.run_id": "abc",
            "paceline.rank": "1",
            "paceline.ray_job_id": "01000000",
        }
        assert known() == {"sweep": "s", "trial": "003", "run": "s-003", "run_id": "abc"}
    assert "paceline.sweep" not in JobContext().tags()
    assert known() == {}


def test_a_rank_that_lightning_started_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with told(run="r"):
        assert JobContext().tags()["paceline.rank"] == "1"


def test_a_value_without_end_does_not_make_mlflow_refuse_the_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PACELINE_JOB", "j" * 100_000)
    assert len(JobContext().tags()["paceline.job"]) == 500


def test_no_node_name_is_no_error(monkeypatch: pytest.MonkeyPatch):
    def fail() -> str:
        raise OSError

    monkeypatch.setattr("socket.gethostname", fail)
    with told(run="r"):
        assert "paceline.node" not in JobContext().tags()


SEEN = """
import sys
from mlflow.tracking.context.registry import resolve_tags
print(resolve_tags().get("paceline.sweep"))
print([name for name in ("torch", "ray", "pytorch_lightning") if name in sys.modules])
"""


def test_mlflow_finds_it_and_loads_nothing_of_weight_with_it(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", SEEN],
        env={**os.environ, "PACELINE_SWEEP": "s"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["s", "[]"]

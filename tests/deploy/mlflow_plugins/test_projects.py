"""MLflow's own command with our backend: a project runs as a job, in the run that MLflow made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from paceline.tests.deploy.jobs.user import User, wait_for

pytestmark = pytest.mark.ray

PROJECT = """
name: adder
entry_points:
  main:
    parameters:
      alpha: {type: float, default: 0.5}
      file: {type: path, default: data/one.txt}
      seconds: {type: float, default: 0}
      fails: {type: string, default: "no"}
    command: "python train.py {alpha} {file} {seconds} {fails}"
"""
SCRIPT = """
import sys, time
import mlflow

with mlflow.start_run():
    mlflow.log_metric("sum", float(sys.argv[1]) + float(open(sys.argv[2]).read()))
    mlflow.set_tag("of.the.process", mlflow.active_run().info.run_id)
    print("training", flush=True)
    time.sleep(float(sys.argv[3]))
    assert sys.argv[4] == "no", "asked to fail"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "adder"
    (folder / "data").mkdir(parents=True)
    (folder / "MLproject").write_text(PROJECT)
    (folder / "train.py").write_text(SCRIPT)
    (folder / "data" / "one.txt").write_text("1")
    (folder / "mine.token").write_text("hush")
    return folder


@pytest.fixture
def user(local_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> User:
    for name, value in local_cluster.environment.items():
        if name.startswith("MLFLOW_"):
            monkeypatch.setenv(name, value)
    return User(local_cluster)


def mlflow_run(
    user: User, project: Path, config: str, *more: str, experiment: str = "projects"
) -> Any:
    words = ["run", ".", "--backend", "paceline", "--backend-config", config]
    words += ["--experiment-name", experiment, *more]
    return user.run(*words, cwd=project, program="mlflow")


def run_of(user: User, done: Any) -> Any:
    """The run that a command told of."""
    from mlflow import MlflowClient

    found = re.search(r"Run \(ID '(\w+)'\)", done.stderr + done.stdout)
    assert found, (done.stdout, done.stderr)
    return MlflowClient(user.profile.tracking_uri).get_run(found[1])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_project_runs_as_a_job_in_the_run_that_mlflow_made(user: User, project: Path):
    (project / "cluster.json").write_text('{"follow": true, "num_cpus": 1}')
    done = mlflow_run(user, project, "cluster.json", "-P", "alpha=2.5", "--run-name", "a sum")
    run = run_of(user, done)
    assert (done.returncode, run.info.status) == (0, "FINISHED"), done.stdout + done.stderr
    assert "training" in done.stdout
    assert run.data.metrics["sum"] == 3.5
    assert run.data.params["alpha"] == "2.5"
    assert run.info.run_name == "a sum"
    assert run.data.tags["of.the.process"] == run.info.run_id
    assert run.data.tags["mlflow.project.backend"] == "paceline"
    assert run.data.tags["paceline.job"] == f"mlflow-adder-{run.info.run_id[:8]}"
    assert "hush" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_project_that_is_cancelled_leaves_its_run_killed(user: User, project: Path):
    done = mlflow_run(user, project, "{}", "-P", "seconds=600")
    assert done.returncode == 0  # it was submitted
    assert wait_for(lambda: "of.the.process" in run_of(user, done).data.tags)
    job = run_of(user, done).data.tags["paceline.job"]
    assert f"paceline cancel {job}" in done.stderr
    assert user.run("cancel", job).returncode == 0
    assert run_of(user, done).info.status == "KILLED"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_project_that_fails_leaves_its_run_failed(user: User, project: Path):
    done = mlflow_run(user, project, '{"follow": true}', "-P", "fails=yes")
    assert (done.returncode, run_of(user, done).info.status) == (1, "FAILED")
    assert "asked to fail" in done.stdout
    later = mlflow_run(user, project, "{}", "-P", "fails=yes")  # nobody waits for it
    assert later.returncode == 0
    wait_for(lambda: run_of(user, later).info.status == "FAILED")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_from_python_a_submitted_run_tells_waits_and_is_cancelled(
    user: User, project: Path, monkeypatch: pytest.MonkeyPatch
):
    import mlflow

    monkeypatch.setenv("PACELINE_HOME", str(user.home))
    mlflow.set_tracking_uri(user.profile.tracking_uri)
    options: dict[str, Any] = {
        "experiment_name": "projects",
        "backend": "paceline",
        "backend_config": {},
        "synchronous": False,
    }
    try:
        submitted: Any = mlflow.projects.run(str(project), parameters={"seconds": "600"}, **options)
        wait_for(lambda: submitted.get_status() == "RUNNING")
        submitted.cancel()
        assert submitted.get_status() == "KILLED"
        assert mlflow.get_run(submitted.run_id).info.status == "KILLED"
        ended: Any = mlflow.projects.run(str(project), **options)
        assert ended.wait()
        assert ended.get_status() == "FINISHED"
    finally:
        mlflow.set_tracking_uri("")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_what_cannot_run_as_a_job_is_told_and_leaves_no_run(user: User, project: Path):
    from mlflow import MlflowClient

    client = MlflowClient(user.profile.tracking_uri)
    wrong = {
        '{"adress": "http://h:1"}': "address",
        '{"address": "http://127.0.0.1:1"}': "can be reached",
    }
    for config, told in wrong.items():
        done = mlflow_run(user, project, config, experiment="refused")
        assert done.returncode != 0
        assert told in done.stderr
    experiment = client.get_experiment_by_name("refused")
    assert experiment is None or not client.search_runs([experiment.experiment_id])

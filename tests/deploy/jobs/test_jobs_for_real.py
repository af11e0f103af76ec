"""Jobs on a real cluster: what they see, how they end, and that no secret travels with them."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from paceline.tests.deploy.jobs.user import User, wait_for

pytestmark = pytest.mark.ray

RECIPE = """
seed_everything: 1
model: {class_path: probe.Probe}
data: {class_path: digits, init_args: {batch_size: 512}}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false}
tracking: {log_model: false}
sweep:
  metric: val/loss
  mode: min
  scheduler: none
  search: grid
  space: {model.width: {grid: [4, 8]}}
"""


@pytest.fixture
def user(local_cluster: Any) -> User:
    return User(local_cluster)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder as a user has it, with things in it that must stay there."""
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("probe.py"), folder)
    (folder / "probe.yaml").write_text(RECIPE)
    (folder / "paceline.env").write_text("AWS_SECRET_ACCESS_KEY=hush")
    (folder / ".git").mkdir()
    (folder / "data").mkdir()
    return folder


def told(done: Any) -> dict[str, Any]:
    assert len(done.stdout.splitlines()) == 1, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def secrets(user: User) -> dict[str, str]:
    names = ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")
    found = {name: user.secrets[name] for name in names}
    return {**found, "RAY_AUTH_TOKEN": Path(user.profile.token_path).read_text().strip()}


def runs(user: User, monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """The runs of a name on the cluster's tracking server."""
    from mlflow import MlflowClient

    for variable, value in user.secrets.items():
        if variable.startswith("MLFLOW_"):
            monkeypatch.setenv(variable, value)
    client = MlflowClient(user.profile.tracking_uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(ids, f"attributes.run_name = '{name}'"))


def raw_jobs(user: User, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything that Ray tells of the cluster's jobs to whoever has its token."""
    from paceline.deploy.jobs.cluster import Jobs, find_cluster

    monkeypatch.setenv("PACELINE_HOME", str(user.home))
    client = Jobs(find_cluster(None))
    answers = [client._do_request("GET", "/api/jobs/").text]
    answers += [
        client.get_job_logs(str(job.submission_id))
        for job in client.list_jobs()
        if job.submission_id
    ]
    return "\n".join(answers)


@pytest.mark.timeout(240)
def test_a_run_is_a_job_with_its_folder_its_record_and_no_secret(
    user: User, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    note = tmp_path / "note.txt"
    words = ["submit", "fit", "probe.yaml", "--name", "first", "--model.note", str(note), "--json"]
    done = user.run(*words, cwd=work)
    answer = told(done)
    assert (done.returncode, answer["status"], answer["exit_code"]) == (0, "succeeded", 0)
    assert answer["result"]["metrics"]["val/loss"] > 0
    assert answer["result"]["run_id"] in answer["link"]
    assert "epoch 2/2" in done.stderr
    assert "searchFilter" in done.stderr.partition("epoch 1/2")[0]  # the page was told at once

    seen = note.read_text().splitlines()
    assert {"probe.py", "probe.yaml", "MLFLOW_TRACKING_PASSWORD", "PACELINE_JOB"} <= set(seen)
    assert not {"paceline.env", ".git", "data"} & set(seen)

    (run,) = runs(user, monkeypatch, "of-the-users-own")
    expected = {"run": "first", "job": "first", "run_id": answer["result"]["run_id"]}
    assert {key: run.data.tags[f"paceline.{key}"] for key in expected} == expected
    assert run.data.tags["paceline.node"]
    (ours,) = runs(user, monkeypatch, "first")
    assert ours.data.tags["paceline.job"] == "first"

    everything = raw_jobs(user, monkeypatch) + done.stdout + done.stderr
    for name, secret in secrets(user).items():
        assert secret not in everything, name

    again = user.run(*words, cwd=work)
    assert again.returncode == 2
    assert "paceline submit resume first" in told(again)["error"]["remedy"]
    assert user.run("show", "first").returncode == 0  # its state is of this home


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_job_is_cancelled_in_order_and_nobody_else_takes_its_run_before(
    user: User, work: Path, monkeypatch: pytest.MonkeyPatch
):
    words = ["--name", "long", "--model.seconds", "0.5", "--trainer.max_epochs", "900"]
    started = user.run("submit", "--detach", "fit", "probe.yaml", *words, "--json", cwd=work)
    assert told(started)["status"] == "submitted"
    busy = user.run("submit", "resume", "long", cwd=work)
    assert (busy.returncode, "paceline cancel long" in busy.stderr) == (2, True)
    wait_for(lambda: runs(user, monkeypatch, "long"))
    kept = user.run("cluster", "down")
    assert (kept.returncode, "but there is: long." in kept.stderr) == (2, True)
    done = user.run("cancel", "long", "--json")
    assert (done.returncode, told(done)["status"]) == (0, "stopped")
    (run,) = runs(user, monkeypatch, "long")
    assert run.info.status == "KILLED"
    again = user.run("cancel", "long")
    assert (again.returncode, "which has stopped" in again.stderr) == (2, True)
    assert user.run("cancel", "lang").returncode == 2


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_ctrl_c_ends_a_sweep_in_order_and_resume_goes_on_with_it(
    user: User, work: Path, monkeypatch: pytest.MonkeyPatch
):
    words = ["--name", "swept", "--model.seconds", "0.2", "--trainer.max_epochs", "12", "--json"]
    process = user.start("submit", "sweep", "probe.yaml", *words, cwd=work)
    wait_for(lambda: runs(user, monkeypatch, "swept-001"))
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    answer = json.loads(out)
    assert (answer["status"], answer["result"]["status"]) == ("stopped", "killed")
    statuses = {run.info.status for run in runs(user, monkeypatch, "swept")}
    assert statuses == {"KILLED"}

    done = user.run("submit", "resume", "swept", "--json", cwd=work, timeout_s=200)
    answer = told(done)
    assert (done.returncode, answer["job_id"]) == (0, "swept.2"), done.stderr
    assert (answer["result"]["status"], answer["result"]["finished"]) == ("finished", 2)
    (parent,) = runs(user, monkeypatch, "swept")  # the same run
    assert parent.info.status == "FINISHED"
    inner = runs(user, monkeypatch, "of-the-users-own")
    tags = [run.data.tags for run in inner if run.data.tags.get("paceline.sweep") == "swept"]
    assert {tag["paceline.trial"] for tag in tags} == {"000", "001"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_second_ctrl_c_leaves_at_once_and_follow_finds_the_job_again(
    user: User, work: Path, monkeypatch: pytest.MonkeyPatch
):
    words = ["--name", "left", "--model.seconds", "0.3", "--trainer.max_epochs", "900"]
    process = user.start("submit", "fit", "probe.yaml", *words, cwd=work)
    wait_for(lambda: runs(user, monkeypatch, "left"))
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "was told to end and will" in err) == (130, True), err
    assert time.monotonic() - began < 10
    found = user.run("submit", "follow", "left")
    assert (found.returncode, "job left: stopped" in found.stdout) == (143, True)
    assert "go on         paceline submit resume left" in found.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_the_command_answers_is_what_submit_answers(user: User, work: Path):
    done = user.run("submit", "resume", "nobody", cwd=work)
    assert done.returncode == 2  # told by the job itself
    assert "must be a known name, but is 'nobody'" in done.stdout + done.stderr
    ended = user.run("submit", "fit", "probe.yaml", "--trainer.max_epochs", "-3", cwd=work)
    assert ended.returncode == 2  # told before anything is sent
    assert "Running entrypoint" not in ended.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_worker_of_a_wide_run_tells_its_rank(
    user: User, work: Path, monkeypatch: pytest.MonkeyPatch
):
    words = ["probe.yaml", "--workers", "2", "--name", "wide", "--json"]
    done = user.run("submit", "fit", *words, cwd=work, timeout_s=200)
    assert (done.returncode, told(done)["result"]["status"]) == (0, "finished"), done.stderr
    inner = runs(user, monkeypatch, "of-the-users-own")
    tags = [run.data.tags for run in inner if run.data.tags["paceline.run"] == "wide"]
    assert sorted(tag["paceline.rank"] for tag in tags) == ["0", "1"]
    assert {tag["paceline.job"] for tag in tags} == {"wide"}


@pytest.mark.slow
def test_a_folder_that_ray_deletes_is_no_storage(user: User, work: Path):
    done = user.run("submit", "fit", "probe.yaml", "--storage", "here", cwd=work)
    assert (done.returncode, "must be an absolute folder" in done.stderr) == (2, True)

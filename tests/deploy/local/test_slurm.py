"""The rendered Slurm script on a real Slurm: on two nodes, put back twice, it goes on."""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paceline.tests.deploy.local.slurm_machine import Slurm, Tracking, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]
EPOCHS = 40
FIT = f"fit mlp --workers 2 --trainer.max_epochs {EPOCHS} --trainer.log_every_n_steps 1"
FIT += " --data.batch_size 64 --launch.save_every_n_steps 1"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    slurm = Slurm(tmp_path_factory.mktemp("slurm"))
    yield slurm
    slurm.stop()


@pytest.fixture(scope="module")
def tracking(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    tracking = Tracking(tmp_path_factory.mktemp("mlflow"))
    yield tracking
    tracking.stop()


def render(folder: Path, uri: str, command: str, name: str) -> Path:
    """The script and its secrets, as a user makes them."""
    from paceline.__main__ import main

    values = {
        "workers": 2,
        "cpus": 1,
        "memory_gib": 4,
        "command": command,
        "run_name": name,
        "tracking_uri": uri,
        "storage": folder / "runs",
        "environment": Path(sys.prefix),
    }
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    assert main(["cluster", "render", "slurm", "--out", str(folder), *words]) == 0
    given = {"RAY_AUTH_TOKEN": secrets.token_hex(32), "PACELINE_HOME": str(folder / "home")}
    given |= {"OMP_NUM_THREADS": "1", "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    file = folder / "paceline.env"
    file.write_text("".join(f"{key}={value}\n" for key, value in given.items()))
    file.chmod(0o600)
    return folder / "job.sh"


def record(uri: str, name: str):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    runs = client.search_runs(
        [e.experiment_id for e in client.search_experiments()], f"attributes.run_name = '{name}'"
    )
    return client, runs


def steps(uri: str, name: str) -> list[int]:
    client, runs = record(uri, name)
    if not runs:
        return []
    return [p.step for p in client.get_metric_history(runs[0].info.run_id, "train/loss_step")]


ALIVE = {"RUNNING", "PENDING", "CONFIGURING", "COMPLETING", "REQUEUED"}


def wait_in_job(slurm: Slurm, number: str, holds: Callable[[dict[str, str]], bool]) -> None:
    """Wait for something while a job has not failed."""

    def reached() -> bool:
        job = slurm.job(number)
        assert job["JobState"] in {*ALIVE, "COMPLETED"}, job["JobState"] + slurm.logs()
        return holds(job)

    slurm.wait(reached, 240)


def wait_for_steps(slurm: Slurm, uri: str, number: str, more_than: int) -> int:
    """The last step in the record, once it is beyond one."""
    wait_in_job(slurm, number, lambda _: max(steps(uri, "slow"), default=0) > more_than)
    return max(steps(uri, "slow"))


@pytest.mark.timeout(1200)
def test_a_job_that_is_put_back_twice_goes_on_under_its_name_with_each_step_once(
    slurm: Slurm, tracking: Tracking, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("job")
    script = render(folder, tracking.uri, FIT, "slow")
    number = slurm.submit(script)
    first = wait_for_steps(slurm, tracking.uri, number, 20)
    # As Slurm does before the limit and at a preemption: to the script alone.
    slurm.call("scancel", "--batch", "--signal=TERM", number)
    wait_in_job(slurm, number, lambda job: job["Restarts"] == "1")
    second = wait_for_steps(slurm, tracking.uri, number, first + 40)
    slurm.call("scontrol", "requeue", number)
    wait_in_job(slurm, number, lambda job: job["Restarts"] == "2")
    assert second > first
    wait_in_job(slurm, number, lambda job: job["JobState"] not in ALIVE)
    log = (folder / f"paceline-{number}.log").read_text()
    assert slurm.job(number)["JobState"] == "COMPLETED", log
    _, runs = record(tracking.uri, "slow")
    assert [run.info.status for run in runs] == ["FINISHED"], log
    assert runs[0].data.params["launch.num_workers"] == "2"
    counted = Counter(steps(tracking.uri, "slow"))
    assert set(counted.values()) == {1}, [step for step, n in counted.items() if n > 1]
    assert sorted(counted) == list(range(min(counted), max(counted) + 1))
    assert max(counted) >= 300


def test_a_file_of_secrets_that_others_can_read_ends_the_job_with_the_remedy(
    slurm: Slurm, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("open")
    script = render(folder, "http://127.0.0.1:5000", "fit mlp", "open")
    os.chmod(folder / "paceline.env", 0o644)
    number = slurm.submit(script)
    slurm.wait(lambda: slurm.job(number)["JobState"] == "FAILED", 60)
    assert slurm.job(number)["ExitCode"] == "2:0"
    assert "chmod 600 paceline.env" in (folder / f"paceline-{number}.log").read_text()

"""Runs of two workers on Ray, from the command to the record, left alone and disturbed."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from paceline.platform.training.checkpoint_file import read
from paceline.tests.platform.launch.work import train_workers

pytestmark = pytest.mark.ray

STEADY = ["--model", "steady.Steady", "--data", "steady.Line", "--workers", 2, "--seed", 1]
STEADY += ["--trainer.log_every_n_steps", 1, "--tracking.log_model", "false"]


@pytest.fixture
def steady(run_command) -> str:
    """A config in the folder that the command is called from."""
    Path("steady.yaml").write_text("model: steady.Steady\ndata: steady.Line\n")
    return "steady.yaml"


def the_run(home: Path) -> Run:
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return run


def points(home: Path, run: Run, metric: str) -> list[tuple[int, float]]:
    history = MlflowClient(f"sqlite:///{home}/mlflow.db").get_metric_history(
        run.info.run_id, metric
    )
    return sorted((point.step, point.value) for point in history)


def disturb_at(folder: Path, step: int, disturb: Callable[[], None]) -> threading.Thread:
    """Once a run's latest checkpoint is at a step or behind it, do something to it."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            latest = folder / "latest.ckpt"
            if latest.exists() and read(latest)["global_step"] >= step:
                return disturb()
            time.sleep(0.02)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.long
def test_two_workers_train_one_run_as_one_process_with_the_joined_batch(
    run_command, ray_here, paceline_home: Path
):
    flags = ["--seed", 1, "--optimizer", "SGD", "--trainer.max_epochs", 2, "--json"]
    flags += ["--trainer.limit_train_batches", 20, "--tracking.log_model", "false"]
    two = run_command(
        "fit", "linear", *flags, "--workers", 2, "--data.batch_size", 32, "--name", "two"
    )
    assert two.code == 0, two.err
    assert "epoch 2/2" in two.err
    run = the_run(paceline_home)
    assert (run.info.run_id, run.info.status) == (two.json["run_id"], "FINISHED")
    assert (run.data.tags["attempt"], run.data.tags["stop_reason"]) == ("1", "completed")
    assert run.data.tags["paceline.world_size"] == run.data.params["world_size"] == "2"
    assert run.data.params["global_batch_size"] == "64"
    assert [step for step, _ in points(paceline_home, run, "val/loss")] == [19, 39]
    assert run.data.metrics["val/loss"] == pytest.approx(two.json["metrics"]["val/loss"])
    assert any(name.startswith("system/cpu") for name in run.data.metrics)
    folder = paceline_home / "runs" / "two"
    assert two.json["checkpoint"] == str(folder / "best.ckpt")
    assert list(folder.glob(".*")) == []  # neither half-written files nor Train's own

    one = run_command("fit", "linear", *flags, "--data.batch_size", 64, "--name", "one")
    assert one.json["metrics"]["val/loss"] == pytest.approx(two.json["metrics"]["val/loss"])
    weights = read(folder / "latest.ckpt")["state_dict"]
    for name, weight in read(folder.with_name("one") / "latest.ckpt")["state_dict"].items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_more_than_the_steps_since_the_checkpoint(
    run_command, ray_here, paceline_home: Path, steady: str
):
    folder = paceline_home / "runs" / "killed"
    killer = disturb_at(folder, 10, lambda: train_workers()[1].kill())
    answer = run_command(
        "fit", steady, *STEADY, "--model.step_s", 0.05, "--trainer.max_epochs", 4, "--name",
        "killed", "--launch.save_every_n_steps", 5, "--json",
    )  # fmt: skip
    killer.join()
    assert answer.code == 0, answer.err
    assert "worker 1 of it died" in answer.err
    assert "Starting again from the latest checkpoint" in answer.err
    run = the_run(paceline_home)
    assert run.data.tags["attempt"] == "2"
    assert run.info.status == "FINISHED"
    # Each step once, none missing, though some were trained twice.
    assert points(paceline_home, run, "train/number") == [(n, float(n)) for n in range(32)]
    assert [step for step, _ in points(paceline_home, run, "val/loss")] == [7, 15, 23, 31]
    assert read(folder / "latest.ckpt")["global_step"] == 32


@pytest.mark.slow
@pytest.mark.parametrize("manner", ["sleeps", "is stopped"])
def test_a_worker_that_holds_the_others_up_is_named_and_the_run_goes_on(
    run_command, ray_here, paceline_home: Path, steady: str, manner: str
):
    folder = paceline_home / "runs" / "hung"
    flags, where = ["--model.hangs_at", 10], "steady.py"
    if manner == "is stopped":
        flags, where = [], "worker 1 has told nothing"
        disturb_at(folder, 10, lambda: train_workers()[1].suspend())
    answer = run_command(
        "fit", steady, *STEADY, *flags, "--model.step_s", 0.05, "--trainer.max_epochs", 4,
        "--name", "hung", "--launch.save_every_n_steps", 5, "--launch.hang_timeout_s", 25,
        "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "it stood still for 25 s, because worker 1" in answer.err, answer.err
    assert where in answer.err
    assert "Starting again from the latest checkpoint" in answer.err
    run = the_run(paceline_home)
    assert (run.info.status, run.data.tags["attempt"]) == ("FINISHED", "2")
    assert points(paceline_home, run, "train/number") == [(n, float(n)) for n in range(32)]


@pytest.mark.slow
def test_a_worker_that_is_told_to_go_saves_just_in_time(
    run_command, ray_here, paceline_home: Path, steady: str
):
    folder = paceline_home / "runs" / "told"
    told = disturb_at(folder, 8, lambda: train_workers()[1].terminate())
    answer = run_command(
        "fit", steady, *STEADY, "--model.step_s", 0.1, "--trainer.max_epochs", 4, "--name", "told",
        "--launch.max_failures", 0, "--json",
    )  # fmt: skip
    told.join()
    assert answer.code == 0, answer.err
    assert "had to leave" in answer.err
    run = the_run(paceline_home)
    assert run.data.tags["attempt"] == "2"
    assert points(paceline_home, run, "train/number") == [(n, float(n)) for n in range(32)]


@pytest.mark.slow
def test_what_a_model_raises_in_one_worker_is_told_and_not_tried_again(
    run_command, ray_here, paceline_home: Path, steady: str
):
    answer = run_command(
        "fit", steady, *STEADY, "--model.raises_at", 11, "--trainer.max_epochs", 4, "--name",
        "raises", "--json",
    )  # fmt: skip
    assert answer.code == 1
    error = answer.json["error"]
    assert error["what"] == "The run failed: KeyError: 'the slip'"
    assert "steady.py:" in error["where"]
    assert "Traceback" not in answer.err
    log = paceline_home / "runs" / "raises" / "traceback.txt"
    assert str(log) in error["remedy"]
    assert "training_step" in log.read_text()
    run = the_run(paceline_home)
    assert (run.info.status, run.data.tags["attempt"]) == ("FAILED", "1")
    assert "the slip" in run.data.tags["exception"]
    # What rank 0 had made until then is all there.
    assert points(paceline_home, run, "train/number") == [(n, float(n)) for n in range(11)]


@pytest.mark.slow
def test_a_run_that_dies_too_often_fails_and_is_resumed(
    run_command, ray_here, paceline_home: Path, steady: str
):
    answer = run_command(
        "fit", steady, *STEADY, "--model.leaves_at", 11, "--trainer.max_epochs", 3, "--name",
        "dies", "--launch.max_failures", 0, "--json",
    )  # fmt: skip
    assert answer.code == 1
    assert "died or was cut off" in answer.json["error"]["what"]
    assert the_run(paceline_home).info.status == "FAILED"
    config = paceline_home / "runs" / "dies" / "config.yaml"
    config.write_text(config.read_text().replace("leaves_at: 11", "leaves_at: -1"))
    again = run_command("resume", "dies", "--json")
    assert again.code == 0, again.err
    run = the_run(paceline_home)
    assert (run.info.status, run.data.tags["attempt"]) == ("FINISHED", "2")
    assert points(paceline_home, run, "train/number") == [(n, float(n)) for n in range(24)]


@pytest.mark.parametrize(
    ("flags", "numbers"),
    [
        (["--workers", 3], ["3 worker(s) of 1 CPU", "2 such worker(s) fit on 1 node(s)"]),
        (["--workers", 2, "--gpus-per-worker", 1], ["1 GPU", "2 CPU and 0 GPU"]),
        (["--workers", 2, "--cpus-per-worker", 2], ["2 CPU", "1 such"]),
    ],
)
def test_workers_that_cannot_fit_are_refused_before_anything_starts(
    run_command, ray_here, paceline_home: Path, flags: list, numbers: list[str]
):
    answer = run_command("fit", "mlp", *flags, "--name", "large")
    assert answer.code == 2
    assert all(number in answer.err for number in numbers), answer.err
    assert not (paceline_home / "runs" / "large").exists()
    client = MlflowClient(f"sqlite:///{paceline_home}/mlflow.db")
    assert client.search_runs([e.experiment_id for e in client.search_experiments()]) == []


@pytest.mark.slow
def test_an_interrupted_run_is_saved_just_in_time_and_killed(
    ray_here, paceline_home: Path, steady: str, run_command
):
    folder = paceline_home / "runs" / "stopped"
    stop = disturb_at(folder, 8, lambda: os.kill(os.getpid(), signal.SIGINT))
    answer = run_command(
        "fit", steady, *STEADY, "--model.step_s", 0.1, "--trainer.max_epochs", 40, "--name",
        "stopped", "--json",
    )  # fmt: skip
    stop.join()
    assert answer.code == 130, answer.err
    assert answer.json["status"] == "killed"
    run = the_run(paceline_home)
    assert run.info.status == "KILLED"
    step = read(folder / "latest.ckpt")["global_step"]
    assert points(paceline_home, run, "train/number") == [(n, float(n)) for n in range(step)]
    assert json.loads((folder / "run.json").read_text())["status"] == "killed"


@pytest.mark.slow
def test_from_within_an_actor_each_report_is_answered_and_the_answer_can_be_to_stop(
    run_command, ray_here, paceline_home: Path, steady: str
):
    import ray
    from paceline.platform.configuration.config import load
    from paceline.platform.runs import open_store

    flags = {"launch.num_workers": 2, "trainer.max_epochs": 9, "seed_everything": 1}
    config = load(steady, {key: (value, f"--{key}") for key, value in flags.items()})
    store = open_store(config)
    run_id = store.create_run("inside")
    folder = paceline_home / "runs" / "inside"
    folder.mkdir(parents=True)

    def trial(data: dict, path: list[str]) -> tuple[dict, list[dict]]:
        sys.path += path
        from paceline.platform.configuration.config import Config
        from paceline.platform.launch.wide import train_wide

        heard: list[dict] = []

        def answer(result: dict) -> str:
            heard.append(result)
            return "stop" if len(heard) == 3 else "go_on"

        outcome = train_wide(
            Config.from_dict(data),
            store_uri=store.uri,
            run_id=run_id,
            folder=folder,
            on_result=answer,
            reporter={"class_path": "steady.Teller", "init_args": {"prefix": "epoch"}},
            has_pictures=False,
        )
        return vars(outcome), heard

    path = [str(Path(__file__).parent / "models")]
    outcome, heard = ray.get(ray.remote(num_cpus=0)(trial).remote(config.to_dict(), path))
    assert heard == [{"epoch": 0}, {"epoch": 1}, {"epoch": 2}]
    assert (outcome["epochs"], outcome["stop_reason"]) == (3, "early_stopped")
    assert outcome["checkpoint"] == str(folder / "best.ckpt")
    assert store.status(run_id) == "running"  # its end belongs to whoever made it

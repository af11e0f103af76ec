"""`fit`, `validate`, `test`, `predict` from the command line to what they leave behind."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import paceline
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from paceline.platform.errors import UserError
from paceline.platform.repeat import mean_and_interval
from paceline.platform.training.checkpoint_file import read

QUICK = ("--trainer.max_epochs", 1, "--tracking.log_model", "false", "--model.hidden_sizes", "[8]")


@pytest.fixture
def theirs(run_command, monkeypatch: pytest.MonkeyPatch) -> str:
    """A third party's config in the folder that the command is called from."""
    shutil.copy(Path(__file__).with_name("theirs.py"), Path.cwd())
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    Path("theirs.yaml").write_text(
        "seed_everything: 1\nmodel: theirs.Net\ndata: theirs.Points\ntrainer: {max_epochs: 2}\n"
        "tracking: {log_model: false}\n"
    )
    return "theirs.yaml"


def runs(home: Path) -> list[Run]:
    """Every run of the store, in the order in which they began."""
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiments = [e.experiment_id for e in client.search_experiments()]
    return list(client.search_runs(experiments, order_by=["attributes.start_time ASC"]))


def artifacts(run: Run) -> set[str]:
    root = Path(run.info.artifact_uri.removeprefix("file://"))
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


def test_fit_trains_records_and_answers_one_object(run_command, paceline_home: Path):
    answer = run_command("fit", "mlp", "--trainer.max_epochs", 2, "--seed", 3, "--json")
    assert answer.code == 0, answer.err
    result = answer.json
    assert set(result) == {
        "name",
        "run_id",
        "status",
        "metrics",
        "checkpoint",
        "tracking_uri",
        "seconds",
    }
    assert result["status"] == "finished"
    assert result["metrics"]["val/accuracy"] > 0.85  # odds of a false alarm: one seed, so none
    assert result["tracking_uri"] == f"sqlite:///{paceline_home}/mlflow.db"

    (run,) = runs(paceline_home)
    assert run.info.run_id == result["run_id"]
    assert run.info.status == "FINISHED"
    assert run.info.run_name == result["name"]
    assert run.data.tags["stop_reason"] == "completed"
    assert run.data.tags["paceline.seed"] == "3"
    assert run.data.tags["paceline.world_size"] == "1"
    assert run.data.params["trainer.max_epochs"] == "2"
    assert run.data.metrics["val/loss"] == pytest.approx(result["metrics"]["val/loss"])
    assert {"config.yaml", "signature.json", "figures/learning_curves.png"} <= artifacts(run)
    assert {"figures/confusion_matrix.png", "model_summary.txt"} <= artifacts(run)

    checkpoint = Path(result["checkpoint"])
    assert checkpoint == paceline_home / "runs" / result["name"] / "best.ckpt"
    assert "network.1.weight" in read(checkpoint)["state_dict"]
    state = json.loads((checkpoint.parent / "run.json").read_text())
    assert state["status"] == "finished"
    assert state["stop_reason"] == "completed"


def test_without_json_a_person_is_told_how_to_go_on(run_command):
    answer = run_command("fit", "mlp", *QUICK, "--name", "mine")
    assert answer.code == 0
    assert "mine: finished" in answer.out
    assert "paceline test mine" in answer.out
    assert "http://127.0.0.1:5000/#/experiments/" in answer.out
    assert "best.ckpt" in answer.out
    assert "epoch 1/1" in answer.err


def test_print_config_prints_a_file_that_runs_and_starts_nothing(run_command, paceline_home: Path):
    answer = run_command("fit", "mlp", "--model.dropout", 0.3, "--print_config")
    assert answer.code == 0
    Path("printed.yaml").write_text(answer.out)
    again = run_command("fit", "printed.yaml", "--print-config")
    assert again.out == answer.out
    assert not (paceline_home / "runs").exists()
    assert runs(paceline_home) == []


def test_the_same_seed_gives_the_same_numbers(run_command):
    first, second, other = (
        run_command("fit", "mlp", *QUICK, "--seed", seed, "--json").json["metrics"]
        for seed in (5, 5, 6)
    )
    assert first == second
    assert first != other


def test_a_third_partys_config_runs_unchanged(run_command, theirs: str, paceline_home: Path):
    result = run_command("fit", theirs, "--json").json
    assert result["status"] == "finished"
    assert {"loss", "val_loss"} <= set(result["metrics"])
    assert result["name"].startswith("theirs-")
    assert run_command("test", result["name"], "--json").json["metrics"]["test_loss"] > 0
    assert len(runs(paceline_home)) == 1


def test_a_module_that_fails_ends_its_run_as_failed(run_command, theirs: str, paceline_home: Path):
    answer = run_command("fit", theirs, "--model", "theirs.Fails", "--name", "bad", "--json")
    assert answer.code == 1
    error = answer.json["error"]
    assert error["what"] == "The run failed: KeyError: 'the slip'"
    assert "theirs.py:" in error["where"]
    log = paceline_home / "runs" / "bad" / "traceback.txt"
    assert str(log) in error["remedy"]
    assert "training_step" in log.read_text()
    assert "Traceback" not in answer.err
    (run,) = runs(paceline_home)
    assert run.info.status == "FAILED"
    assert "the slip" in run.data.tags["exception"]
    assert "exception.txt" in artifacts(run)
    assert json.loads((log.parent / "run.json").read_text())["status"] == "failed"


def test_a_module_that_leaves_ends_its_run_as_killed(run_command, theirs: str, paceline_home: Path):
    with pytest.raises(SystemExit):
        pytest.fail(f"it did not leave: {run_command('fit', theirs, '--model', 'theirs.Leaves')}")
    assert [run.info.status for run in runs(paceline_home)] == ["KILLED"]


def test_what_a_module_prints_goes_beside_the_one_object(run_command, theirs: str):
    answer = run_command("fit", theirs, "--model", "theirs.Talks", "--json")
    assert answer.json["status"] == "finished"
    assert "a step" in answer.err


def test_early_stopping_is_told_as_the_reason(run_command, theirs: str, paceline_home: Path):
    answer = run_command(
        "fit",
        theirs,
        "--trainer.max_epochs",
        50,
        "--trainer.callbacks",
        "[{class_path: EarlyStopping, init_args: {monitor: val_loss, stopping_threshold: 1e9}}]",
    )
    assert answer.code == 0, answer.err
    (run,) = runs(paceline_home)
    assert run.data.tags["stop_reason"] == "early_stopped"


def test_time_that_is_up_is_told_as_the_reason(run_command, paceline_home: Path):
    answer = run_command("fit", "mlp", *QUICK[2:], "--trainer.max_time", "00:00:00:01")
    assert answer.code == 0, answer.err
    (run,) = runs(paceline_home)
    assert run.data.tags["stop_reason"] == "budget"


def test_a_trained_run_is_measured_by_its_name(run_command, paceline_home: Path):
    trained = run_command("fit", "mlp", *QUICK, "--name", "mine", "--json").json
    tested = run_command("test", "mine", "--json").json
    validated = run_command("validate", "mine", "--json").json
    assert tested["run_id"] == validated["run_id"] == trained["run_id"]
    assert set(tested["metrics"]) == {"test/loss", "test/accuracy"}
    for name in ("val/loss", "val/accuracy"):
        assert validated["metrics"][name] == pytest.approx(trained["metrics"][name])
    (run,) = runs(paceline_home)
    assert run.data.metrics["test/accuracy"] == pytest.approx(tested["metrics"]["test/accuracy"])
    assert run.info.status == "FINISHED"


def test_predictions_are_written_a_row_for_each_example(run_command):
    run_command("fit", "mlp", *QUICK, "--name", "mine")
    answer = run_command("predict", "mine", "--json").json
    with open(answer["predictions"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == answer["count"] > 100
    assert [row["index"] for row in rows[:3]] == ["0", "1", "2"]


def test_a_run_without_a_checkpoint_is_not_measured(run_command, paceline_home: Path):
    done = run_command("fit", "mlp", "--name", "bare", "--trainer.max_epochs", 1, "--json")
    assert done.code == 0
    state = json.loads((paceline_home / "runs" / "bare" / "run.json").read_text())
    state |= {"checkpoint": None, "status": "killed"}
    (paceline_home / "runs" / "bare" / "run.json").write_text(json.dumps(state))
    done = run_command("test", "bare")
    assert done.code == 2
    assert "`bare` must have a checkpoint, but has none" in done.err
    assert "paceline resume bare" in done.err
    assert "go on         paceline resume bare" in run_command("show", "bare").out


def test_a_recipe_is_measured_with_a_checkpoint_in_a_run_of_its_own(
    run_command, paceline_home: Path
):
    trained = run_command("fit", "mlp", *QUICK, "--json").json
    weights = ("--ckpt_path", trained["checkpoint"], "--model.hidden_sizes", "[8]")
    tested = run_command("test", "mlp", *weights, "--json").json
    assert tested["run_id"] != trained["run_id"]
    assert [run.info.status for run in runs(paceline_home)] == ["FINISHED", "FINISHED"]
    by_name = run_command("test", trained["name"], "--json").json
    assert by_name["metrics"] == tested["metrics"]


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_nothing_is_measured_on_random_weights(run_command, verb: str, paceline_home: Path):
    answer = run_command(verb, "mlp")
    assert answer.code == 2
    assert "`--ckpt_path` must be given" in answer.err
    assert runs(paceline_home) == []


def test_a_module_without_a_test_step_is_not_tested(run_command, theirs: str, paceline_home: Path):
    trained = run_command("fit", theirs, "--json").json
    path = Path("theirs.py")
    path.write_text(path.read_text().replace("def test_step", "def other_step"))
    sys.modules.pop("theirs", None)
    done = run_command("test", trained["name"])
    assert done.code == 2
    assert "`Net` must have a `test_step` to be measured, but has none" in done.err
    assert f"paceline predict {trained['name']}" in done.err
    assert [run.info.status for run in runs(paceline_home)] == ["FINISHED"]


def test_a_test_that_fails_is_one_message(run_command, theirs: str, paceline_home: Path):
    trained = run_command("fit", theirs, "--json").json
    text = Path("theirs.py").read_text()
    Path("theirs.py").write_text(
        text.replace('self.log("test_loss"', '1 / 0; self.log("test_loss"')
    )
    del sys.modules["theirs"]
    answer = run_command("test", theirs, "--ckpt_path", trained["checkpoint"], "--json")
    assert answer.code == 1
    assert "ZeroDivisionError" in answer.json["error"]["what"]
    assert [run.info.status for run in runs(paceline_home)] == ["FINISHED", "FAILED"]


def test_seeds_are_child_runs_and_their_mean_is_told(run_command, paceline_home: Path):
    result = run_command("fit", "mlp", *QUICK, "--seeds", 3, "--seed", 7, "--json").json
    children = result["runs"]
    assert [child["name"] for child in children] == [f"{result['name']}-seed{s}" for s in (7, 8, 9)]
    losses = [child["metrics"]["val/loss"] for child in children]
    mean, half_width = mean_and_interval(losses)
    assert result["metrics"]["val/loss"] == pytest.approx(mean)
    assert result["metrics"]["val/loss_ci95"] == pytest.approx(half_width)
    assert len(set(losses)) == 3
    best = min(children, key=lambda child: child["metrics"]["val/loss"])
    assert result["checkpoint"] == best["checkpoint"]
    parent, *others = runs(paceline_home)
    assert {run.data.tags["mlflow.parentRunId"] for run in others} == {parent.info.run_id}
    assert {run.info.status for run in runs(paceline_home)} == {"FINISHED"}


def test_mean_and_interval_are_students():
    from scipy import stats

    values = [0.91, 0.93, 0.96, 0.90]
    mean, half_width = mean_and_interval(values)
    low, high = stats.t.interval(0.95, 3, mean, stats.sem(values))
    assert (mean - half_width, mean + half_width) == pytest.approx((low, high))


def test_one_seed_has_a_mean_and_no_interval(run_command):
    result = run_command("fit", "mlp", *QUICK, "--seeds", 1, "--json").json
    assert result["metrics"]["val/loss_ci95"] is None  # JSON has no NaN


def test_a_diverged_run_answers_json_that_parses(run_command, theirs: str):
    answer = run_command("fit", theirs, "--model.rate", 1e30, "--json")
    assert answer.code == 0
    assert json.loads(answer.out, parse_constant=pytest.fail)["metrics"]["val_loss"] is None


def weights(folder: Path, name: str = "latest.ckpt") -> dict[str, torch.Tensor]:
    return read(folder / name)["state_dict"]


def test_a_run_that_goes_on_ends_where_an_uninterrupted_one_does(run_command, paceline_home: Path):
    keys = ("--seed", 1, "--tracking.log_model", "false", "--model.dropout", 0.5)
    fixed = ("--lr-scheduler", "torch.optim.lr_scheduler.StepLR", "--lr_scheduler.step_size", 1)
    run_command("fit", "mlp", *keys, *fixed, "--trainer.max_epochs", 3, "--name", "whole")
    run_command("fit", "mlp", *keys, *fixed, "--trainer.max_epochs", 1, "--name", "half")
    latest = paceline_home / "runs" / "half" / "latest.ckpt"
    answer = run_command(
        "fit",
        "mlp",
        *keys,
        *fixed,
        "--trainer.max_epochs",
        3,
        "--name",
        "rest",
        "--ckpt_path",
        latest,
    )
    assert answer.code == 0, answer.err
    whole, rest = (weights(paceline_home / "runs" / name) for name in ("whole", "rest"))
    for name, weight in whole.items():
        assert torch.equal(weight, rest[name]), name


@pytest.mark.long
def test_native_ddp_is_one_run_for_each_seed_whose_ranks_all_end(
    run_command, paceline_home: Path, tmp_path: Path
):
    command = [sys.executable, "-m", "paceline", "fit", "mlp", "--trainer.max_epochs", "2"]
    command += ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command += ["--trainer.accelerator", "cpu", "--tracking.log_model", "false"]
    command += ["--json", "--name", "wide", "--seeds", "2"]  # the second needs ranks of its own
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["metrics"]["val/accuracy"] > 0.8
    assert done.stderr.count("epoch 2/2") == 2  # rank 0 alone tells
    assert "status" not in done.stderr
    found = runs(paceline_home)
    assert [run.info.run_name for run in found] == ["wide", "wide-seed1", "wide-seed2"]
    assert {run.info.status for run in found} == {"FINISHED"}
    assert [run.data.tags.get("paceline.world_size") for run in found] == [None, "2", "2"]
    assert read(result["checkpoint"])["state_dict"]
    # Of several processes each would write a part of the predictions, over the other's.
    assert run_command("predict", "wide-seed1", "--json").json["count"] == 360
    assert run_command("test", "wide-seed1", "--trainer.devices", 2).code == 2


@pytest.mark.parametrize(
    ("number", "code", "workers"),
    [
        pytest.param(signal.SIGINT, 130, "1", id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 143, "2", id="SIGTERM, two processes", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_run_as_killed_and_tells_what_there_is(
    number: int, code: int, workers: str, paceline_home: Path, tmp_path: Path
):
    command = [sys.executable, "-m", "paceline", "fit", "mlp", "--trainer.max_epochs", "100000"]
    command += ["--json", "--name", "long", "--workers", workers, "--trainer.accelerator", "cpu"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        with process:
            assert process.stderr is not None
            told = next((line for line in process.stderr if line.startswith("epoch 2/")), None)
            assert told is not None
            process.send_signal(number)
            out, err = process.communicate(timeout=60)  # until every process has closed its end
    finally:
        watchdog.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # nothing may outlive the test, not even a slip
    assert process.returncode == code
    assert json.loads(out)["status"] == "killed"
    assert read(json.loads(out)["checkpoint"])
    assert "Traceback" not in err
    assert "failed" not in err  # no rank tells that the others have gone
    (run,) = runs(paceline_home)
    assert run.info.status == "KILLED"
    assert run.data.metrics["val/loss"] > 0  # what was logged before it ended is there
    assert read(paceline_home / "runs" / "long" / "latest.ckpt")


def test_from_python_a_run_is_a_function_call(paceline_home: Path):
    result = paceline.fit(
        "mlp",
        seed=1,
        data="points",
        config={"trainer.max_epochs": 1, "tracking.log_model": False},
        name="mine",
    )
    assert result.status == "finished"
    assert result.metrics["val/accuracy"] > 0.4
    assert Path(str(result.checkpoint)).exists()
    (run,) = runs(paceline_home)
    assert run.data.tags["paceline.data"] == "points"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"sed": 1}, "keyword"),
        ({"seed": "x"}, "seed_everything"),
        ({"config": {"optimizer.lr": -1}}, r"config\['optimizer.lr'\]"),
        ({"data": "mnsit"}, "data="),
    ],
)
def test_from_python_a_mistake_names_the_argument(
    arguments: dict[str, Any], told: str, paceline_home: Path
):
    with pytest.raises(UserError, match=told):
        paceline.fit("mlp", **arguments)
    assert runs(paceline_home) == []
    assert not list((paceline_home / "runs").glob("*"))

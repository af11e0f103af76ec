"""Runs of one process whose checkpoints and state are kept in an object store."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from paceline.platform.home import write_atomic
from paceline.platform.ports import free_port
from paceline.platform.storage.state_mirror import StateMirror
from paceline.platform.training.checkpoint_file import digest, read
from paceline.tests.platform.storage.s3_double import BUCKET, S3Double

LINEAR = ["fit", "linear", "--seed", 1, "--trainer.limit_train_batches", 10, "--json"]
LINEAR += ["--tracking.log_model", "false", "--trainer.max_epochs", 2]


@pytest.fixture
def another_home(paceline_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Go to another machine: a home that has nothing, beside the same tracking store."""

    def move(name: str = "home-of-another") -> Path:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{paceline_home}/mlflow.db")
        home = tmp_path / name
        monkeypatch.setenv("PACELINE_HOME", str(home))
        return home

    return move


def runs_of(home: Path) -> list:
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    return client.search_runs([e.experiment_id for e in client.search_experiments()])


def test_a_run_leaves_its_checkpoints_and_its_state_in_the_store(
    run_command, s3: S3Double, prefix: str, paceline_home: Path
):
    storage = s3.storage(prefix)
    done = run_command(*LINEAR, "--name", "one", "--storage", storage)
    assert done.code == 0, done.err
    folder = paceline_home / "runs" / "one"
    best, latest = digest(folder / "best.ckpt"), digest(folder / "latest.ckpt")
    address = f"s3://{BUCKET}/{prefix}/one/checkpoints/{best}.ckpt"
    assert done.json["checkpoint"] == address
    objects = {f"checkpoints/{best}.ckpt", f"checkpoints/{latest}.ckpt"}
    assert s3.keys(f"{prefix}/one") == sorted(objects | {"best.json", "latest.json", "state.json"})
    assert json.loads(s3.read(f"{prefix}/one/latest.json"))["step"] == 20
    (run,) = runs_of(paceline_home)
    assert run.data.params["launch.storage"] == storage
    assert run.data.tags["paceline.storage"].startswith(f"s3://{BUCKET}/{prefix}/one?endpoint")
    state = json.loads((folder / "run.json").read_text())
    assert (state["checkpoint"], state["status"]) == (address, "finished")
    assert (
        json.loads(s3.read(f"{prefix}/one/state.json"))["files"]["run.json"]
        == (folder / "run.json").read_text()
    )
    everything = done.out + done.err + json.dumps([run.data.params, run.data.tags, state])
    assert "no-secret-of-anybody" not in everything


def test_a_run_is_measured_and_used_where_its_checkpoint_never_was(
    run_command, s3: S3Double, prefix: str, paceline_home: Path, another_home
):
    storage = ["--storage", s3.storage(prefix)]
    assert run_command(*LINEAR, "--name", "one", *storage).code == 0
    here = run_command("test", "one", *storage, "--json")
    best = paceline_home / "runs" / "one" / "best.ckpt"
    content = best.read_bytes()
    best.unlink()  # the digests beside them are left
    best.with_name("latest.ckpt").unlink()
    assert run_command("test", "one", "--json").json["metrics"] == here.json["metrics"]
    assert best.read_bytes() == content
    home = another_home()
    there = run_command("test", "one", *storage, "--json")
    assert there.code == 0, there.err
    assert there.json["metrics"] == here.json["metrics"]
    assert there.json["run_id"] == here.json["run_id"]
    assert (home / "runs" / "one" / "best.ckpt").read_bytes() == content
    predicted = run_command("predict", "one", *storage, "--json")
    assert predicted.json["count"] > 0


def test_a_checkpoint_is_given_by_the_address_that_its_run_has_told(
    run_command, s3: S3Double, prefix: str, another_home, monkeypatch: pytest.MonkeyPatch
):
    done = run_command(*LINEAR, "--name", "one", "--storage", s3.storage(prefix))
    address = done.json["checkpoint"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    expected = run_command("test", "one", "--json").json["metrics"]
    home = another_home()
    s3.fail(0)
    for _ in range(2):
        measured = run_command("test", "linear", "--ckpt-path", address, "--json")
        assert measured.json["metrics"] == expected
    assert sum(line.startswith("GET") and ".ckpt" in line for line in s3.asked()) == 1
    further = run_command(*LINEAR, "--ckpt-path", address, "--trainer.max_epochs", 3)
    assert read(home / "runs" / further.json["name"] / "latest.ckpt")["global_step"] == 30

    shutil.rmtree(home / "fetched")
    s3.write(address.removeprefix(f"s3://{BUCKET}/"), b"another one")
    changed = run_command("test", "linear", "--ckpt-path", address)
    assert (changed.code, "SHA-256" in changed.err) == (2, True)
    absent = run_command("test", "linear", "--ckpt-path", address.replace(".ckpt", "0.ckpt"))
    assert (absent.code, "an object that exists" in absent.err) == (2, True)
    assert list((home / "fetched").iterdir()) == []


def test_another_machine_goes_on_with_a_run_and_the_first_one_learns_of_it(
    run_command, s3: S3Double, prefix: str, paceline_home: Path, another_home, monkeypatch
):
    Path("raising.py").write_text(RAISING)
    storage = ["--storage", s3.storage(prefix)]
    flags = [*LINEAR, "--name", "one", "--trainer.callbacks", "raising.RaisesAt"]
    failed = run_command(*flags, *storage)
    assert failed.code == 1, failed.err
    assert failed.json["error"]["what"] == "The run failed: KeyError: 'the slip'"
    home = another_home()
    monkeypatch.setenv("NO_SLIP", "1")
    done = run_command("resume", "one", *storage, "--json")
    assert done.code == 0, done.err
    (run,) = runs_of(paceline_home)
    assert (run.info.status, run.data.tags["attempt"]) == ("FINISHED", "2")
    assert read(home / "runs" / "one" / "latest.ckpt")["global_step"] == 20
    steps = MlflowClient(f"sqlite:///{paceline_home}/mlflow.db").get_metric_history(
        run.info.run_id, "val/loss"
    )
    assert sorted(point.step for point in steps) == [9, 19]
    # The first machine believes that it failed, until it looks.
    monkeypatch.setenv("PACELINE_HOME", str(paceline_home))
    state = paceline_home / "runs" / "one" / "run.json"
    assert json.loads(state.read_text())["status"] == "failed"
    again = run_command("resume", "one", "--json")
    assert again.code == 2
    assert "finished" in again.json["error"]["what"]
    assert json.loads(state.read_text())["status"] == "finished"


RAISING = """
import os
from pytorch_lightning.callbacks import Callback

class RaisesAt(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == 13 and "NO_SLIP" not in os.environ:
            raise KeyError("the slip")
"""


def test_what_a_driver_had_not_told_the_store_when_it_died_is_not_overwritten(
    run_command, s3: S3Double, prefix: str, paceline_home: Path
):
    storage = ["--storage", s3.storage(prefix)]
    assert run_command(*LINEAR, "--name", "one", *storage).code == 0
    path = paceline_home / "runs" / "one" / "run.json"
    later = json.loads(path.read_text()) | {"status": "failed"}
    path.write_text(json.dumps(later))
    assert run_command("show", "one", *storage, "--json").json["status"] == "failed"


def test_a_name_that_the_store_has_is_taken_on_every_machine(
    run_command, s3: S3Double, prefix: str, another_home
):
    storage = ["--storage", s3.storage(prefix)]
    first = run_command(*LINEAR, "--trainer.max_epochs", 1, *storage)
    assert first.json["name"].endswith("-1")
    home = another_home()
    second = run_command(*LINEAR, "--trainer.max_epochs", 1, *storage)
    assert second.json["name"] == first.json["name"][:-1] + "2"
    third = run_command(*LINEAR, "--name", first.json["name"], *storage)
    assert third.code == 2
    assert "a new name" in third.json["error"]["what"]
    assert f"paceline resume {first.json['name']} --storage" in third.json["error"]["remedy"]
    assert [p.name for p in (home / "runs").iterdir()] == [second.json["name"]]


@pytest.mark.parametrize("fault", ["refused", "forbidden", "no bucket"])
def test_a_store_that_cannot_be_used_is_one_message_and_nothing_is_recorded(
    run_command, s3: S3Double, prefix: str, paceline_home: Path, fault: str
):
    storage = s3.storage(prefix)
    if fault == "refused":
        storage = s3.storage(prefix, free_port())
    elif fault == "forbidden":
        s3.fail(1, 403)
    else:
        storage = storage.replace(BUCKET, "no-such-bucket")
    for name in (["--name", "one"], []):
        done = run_command(*LINEAR, *name, "--storage", storage)
        assert done.code == 2, done.err
        error = done.json["error"]
        assert "`--storage` must be an object store that can be written and read" in error["what"]
        reason = {
            "refused": "Could not connect",
            "forbidden": "ACCESS_DENIED",
            "no bucket": "NO_SUCH_BUCKET",
        }[fault]
        assert reason in error["where"]
        assert "Traceback" not in done.err
    assert not list((paceline_home / "runs").glob("*"))
    assert runs_of(paceline_home) == []


def test_a_store_that_goes_away_in_the_middle_costs_a_run_nothing(
    run_command, s3: S3Double, prefix: str, paceline_home: Path, monkeypatch, caplog
):
    from paceline.platform.storage import state_mirror, upload_callback

    monkeypatch.setattr(upload_callback, "PATIENCE_S", 1.0)
    monkeypatch.setattr(state_mirror, "PATIENCE_S", 1.0)
    Path("cutting.py").write_text(CUTTING)
    monkeypatch.setenv("FAULTS", f"{s3.endpoint}/-/faults")
    storage = ["--storage", s3.storage(prefix)]
    done = run_command(*LINEAR, "--name", "one", "--trainer.callbacks", "cutting.Cuts", *storage)
    assert done.code == 0, done.err
    folder = paceline_home / "runs" / "one"
    assert done.json["checkpoint"] == str(folder / "best.ckpt")
    (told,) = [r for r in caplog.records if r.message.startswith("Not uploaded")]
    assert "latest.ckpt (step 20" in told.message
    assert read(folder / "latest.ckpt")["global_step"] == 20
    s3.fail(0)
    assert run_command("test", "one", "--json").code == 0


CUTTING = """
import json, os
import requests
from pytorch_lightning.callbacks import Callback

class Cuts(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == 5:
            told = {"every": 1, "status": 503}
            requests.put(os.environ["FAULTS"], json=told, timeout=5).raise_for_status()
"""


def test_a_state_reaches_a_store_that_fails_every_second_put(
    objects, s3: S3Double, prefix: str, tmp_path: Path
):
    folder = tmp_path / "run"
    folder.mkdir()
    mirror = StateMirror(objects.store, folder, write_atomic)
    s3.fail(2, 403)
    for number in range(6):
        (folder / "run.json").write_text(str(number))
        for _ in range(2):
            with contextlib.suppress(OSError):
                mirror.push()
        told = json.loads(s3.read(f"{prefix}/run/state.json"))
        assert told["files"] == {"run.json": str(number)}


def test_a_state_that_may_have_arrived_when_the_driver_died_is_its_own(
    objects, s3: S3Double, tmp_path: Path
):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text("1")
    StateMirror(objects.store, folder, write_atomic).push()
    (folder / "run.json").write_text("2")
    seen = (folder / ".in-store").read_text()
    StateMirror(objects.store, folder, write_atomic).push()
    for noted in (seen + (folder / ".in-store").read_text(), seen + "0" * 64):
        (folder / ".in-store").write_text(noted)
        (folder / "run.json").write_text("3")
        StateMirror(objects.store, folder, write_atomic).pull()
        is_own = noted != seen + "0" * 64
        assert (folder / "run.json").read_text() == ("3" if is_own else "2")


def test_a_hostile_state_writes_nothing(
    run_command, s3: S3Double, prefix: str, paceline_home: Path
):
    for files in (
        {"run.json": "{}", "../escaped.json": "x"},
        {"run.json": "{}", "bash_profile.sh": "x"},
        {"run.json": ["x"]},
        {"config.yaml": "x"},
        ["run.json"],
    ):
        s3.write(f"{prefix}/one/state.json", json.dumps({"files": files}).encode())
        done = run_command("resume", "one", "--storage", s3.storage(prefix), "--json")
        assert done.code == 2
        assert "`state.json` must be a run's state, but is damaged." in done.json["error"]["what"]
        assert not list(paceline_home.rglob("escaped.json"))
        shutil.rmtree(paceline_home / "runs" / "one", ignore_errors=True)

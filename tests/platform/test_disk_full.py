"""A disk that is full while a run trains: one message, and all that was whole stays whole."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from paceline.platform.training.checkpoint_file import read

FILLER = '''
from pathlib import Path
from pytorch_lightning.callbacks import Callback

class Fill(Callback):
    """Leaves no byte on a disk once an epoch begins, once."""

    def __init__(self, path: str, epoch: int):
        self.path, self.epoch = path, epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch and not Path("filled").exists():
            Path("filled").touch()
            with open(self.path, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
'''


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB: a few checkpoints of a small network."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here to make a small disk with")
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def filling(disk: Path, epoch: int) -> list[str]:
    """Flags of a run that fills a disk at an epoch, counted from 0."""
    Path("full.py").write_text(FILLER)
    given = f"{{class_path: full.Fill, init_args: {{path: {disk}/filler, epoch: {epoch}}}}}"
    return ["--trainer.callbacks", f"[{given}]"]


def the_run(home: Path) -> tuple[MlflowClient, Run]:
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return client, run


def test_a_checkpoint_without_room_ends_the_run_and_leaves_the_one_before(
    run_command, paceline_home: Path, small_disk: Path
):
    flags = ["--seed", 1, "--storage", small_disk, "--trainer.max_epochs", 5, "--name", "full"]
    flags += ["--tracking.log_model", "false", *filling(small_disk, 2)]
    answer = run_command("fit", "linear", *flags, "--json")
    assert answer.code == 1
    error = answer.json["error"]
    assert error["what"].startswith("`--storage` must be a folder with room for another checkpoint")
    assert "No space left on device" in error["where"]
    assert "paceline resume" in error["remedy"]
    assert "Traceback" not in answer.err
    folder = small_disk / "full"
    assert read(folder / "latest.ckpt")["epoch"] == 1
    assert read(folder / "best.ckpt")["epoch"] <= 1
    assert list(folder.glob(".*")) == []
    client, run = the_run(paceline_home)
    assert run.info.status == "FAILED"
    assert "room for another checkpoint" in run.data.tags["exception"]
    assert len(client.get_metric_history(run.info.run_id, "val/loss")) == 3  # none is lost

    again = run_command("resume", "full", "--storage", small_disk, "--json")
    assert again.code == 1  # it is still full
    assert "room for another checkpoint" in again.json["error"]["what"]
    assert "Traceback" not in again.err, again.err
    assert the_run(paceline_home)[1].info.status == "FAILED"

    (small_disk / "filler").unlink()
    again = run_command("resume", "full", "--storage", small_disk, "--json")
    assert again.code == 0, again.err
    client, run = the_run(paceline_home)
    assert (run.info.status, run.info.run_id) == ("FINISHED", again.json["run_id"])
    steps = [p.step for p in client.get_metric_history(run.info.run_id, "val/loss")]
    assert len(steps) == len({*steps}) == 5
    assert read(folder / "latest.ckpt")["epoch"] == 4


def test_a_home_without_room_is_one_message(
    run_command, paceline_home: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
):
    home = small_disk / "home"
    home.mkdir()
    shutil.copy(paceline_home / "mlflow.db", home)
    monkeypatch.setenv("PACELINE_HOME", str(home))
    flags = ["--seed", 1, "--trainer.max_epochs", 5, "--name", "full", *filling(small_disk, 2)]
    answer = run_command("fit", "linear", *flags, "--tracking.log_model", "false", "--json")
    assert answer.code == 1
    assert "room" in answer.json["error"]["what"]
    assert "Traceback" not in answer.err
    (small_disk / "filler").unlink()
    again = run_command("resume", "full", "--json")
    assert again.code == 0, again.err
    client, run = the_run(home)
    assert run.info.status == "FINISHED"
    steps = [p.step for p in client.get_metric_history(run.info.run_id, "val/loss")]
    assert len(steps) == len({*steps}) == 5

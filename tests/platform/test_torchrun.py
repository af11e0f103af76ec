"""Ranks that torchrun starts are one run: one name, one record, one answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from paceline.platform.training.checkpoint_file import read

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def torchrun(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, "-m", "paceline", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150)


@pytest.mark.slow
def test_torchrun_is_one_run_that_goes_on_under_torchrun_too(paceline_home: Path, tmp_path: Path):
    fit = ["fit", "mlp", "--name", "launched", "--trainer.max_epochs", 2, "--json"]
    fit += ["--tracking.log_model", "false", "--trainer.accelerator", "cpu"]
    done = torchrun(tmp_path, *fit)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # rank 0 alone answers
    assert result["status"] == "finished"
    assert done.stderr.count("epoch 2/2") == 1
    client = MlflowClient(f"sqlite:///{paceline_home}/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert (run.info.status, run.data.params["world_size"]) == ("FINISHED", "2")
    assert run.data.params["trainer.devices"] == "2"
    assert int(run.data.tags["paceline.seed"]) >= 0  # nobody gave one: all ranks drew the same

    folder = paceline_home / "runs" / "launched"
    state = json.loads((folder / "run.json").read_text()) | {"status": "killed"}
    (folder / "run.json").write_text(json.dumps(state))
    config = (folder / "config.yaml").read_text().replace("max_epochs: 2", "max_epochs: 3")
    (folder / "config.yaml").write_text(config)
    again = torchrun(tmp_path, "resume", "launched", "--json")
    assert again.returncode == 0, again.stderr
    assert read(folder / "latest.ckpt")["epoch"] == 2
    history = client.get_metric_history(result["run_id"], "val/loss")
    assert len(history) == len({point.step for point in history}) == 3


@pytest.mark.slow
def test_workers_on_ray_are_refused_under_torchrun(paceline_home: Path, tmp_path: Path):
    done = torchrun(tmp_path, "fit", "mlp", "--workers", 2)
    assert done.returncode != 0
    assert "left out where 2 processes were started from outside" in done.stderr

"""A sweep whose checkpoints and journal are kept in an object store."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from paceline.platform.training.checkpoint_file import digest
from paceline.tests.platform.storage.s3_double import BUCKET, S3Double

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SWEEP = ["sweep", "linear", "--trials", 2, "--trainer.max_epochs", 2, "--seed", 1]
SWEEP += ["--trainer.limit_train_batches", 5, "--vary", "learning_rate", "--json"]


def assert_same_weights(promoted: dict[str, Any], s3: S3Double, uri: str) -> None:
    """The registered graph holds what the taken run's checkpoint in the store holds."""
    import mlflow
    import torch

    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    model = mlflow.artifacts.download_artifacts(f"models:/{promoted['model']}@champion")
    graph = torch.export.load(Path(model) / "data" / "model.pt2").module()
    key = promoted["taken"]["checkpoint"].removeprefix(f"s3://{BUCKET}/").partition("?")[0]
    wanted = torch.load(io.BytesIO(s3.read(key)), weights_only=True)["state_dict"]
    found = graph.state_dict()
    assert found
    assert found.keys() <= wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in found)


def test_trials_go_to_the_store_and_another_machine_adds_to_them(
    run_command, ray_here, s3: S3Double, paceline_home: Path, tmp_path: Path, monkeypatch
):
    prefix = f"{tmp_path.parent.name}/{tmp_path.name}"
    storage = ["--storage", s3.storage(prefix)]
    done = run_command(*SWEEP, "--name", "swept", *storage)
    assert done.code == 0, done.err
    best = done.json["best"]["trial_id"]
    folder = paceline_home / "runs" / "swept"
    address = f"s3://{BUCKET}/{prefix}/swept/trials/{best}/checkpoints/"
    address += digest(folder / "trials" / best / "best.ckpt") + ".ckpt"
    state = json.loads((folder / "run.json").read_text())
    assert state["best"]["checkpoint"] == address
    for trial in ("000", "001"):
        keys = s3.keys(f"{prefix}/swept/trials/{trial}")
        assert {"best.json", "latest.json"} < set(keys)
    files = json.loads(s3.read(f"{prefix}/swept/state.json"))["files"]
    assert files["trials.jsonl"] == (folder / "trials.jsonl").read_text()

    before = run_command("test", "swept", "--json")
    for path in (folder / "trials").rglob("*.ckpt"):
        path.unlink()
    after = run_command("test", "swept", "--json")
    assert after.json["metrics"] == before.json["metrics"]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{paceline_home}/mlflow.db")
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "home-of-another"))
    more = run_command("extend", "swept", "--trials", 1, *storage, "--json")
    assert more.code == 0, more.err
    assert (more.json["trials"], more.json["finished"]) == (3, 3)
    assert more.json["run_id"] == done.json["run_id"]
    assert "latest.json" in s3.keys(f"{prefix}/swept/trials/002")
    # There it is promoted too; all checkpoints are in the store, none on this disk.
    for path in (tmp_path / "home-of-another").rglob("*.ckpt"):
        path.unlink()
    promoted = run_command("promote", "swept", "--seeds", 2, *storage, "--json")
    assert promoted.code == 0, promoted.err
    assert promoted.json["taken"]["checkpoint"].startswith(f"s3://{BUCKET}/{prefix}/swept-")
    assert_same_weights(promoted.json, s3, f"sqlite:///{paceline_home}/mlflow.db")
    # The first machine learns of it.
    monkeypatch.setenv("PACELINE_HOME", str(paceline_home))
    assert run_command("show", "swept", *storage, "--json").json["trials"] == 3

    def objects() -> set[str]:
        return {key for key in s3.keys(f"{prefix}/swept/trials") if "checkpoints" in key}

    shown = run_command("clean", "swept", "--keep", 1, "--dry-run", "--json").json["sweeps"][0]
    assert len(objects()) >= 3
    cleaned = run_command("clean", "swept", "--keep", 1, "--json").json["sweeps"][0]
    assert cleaned["removed"] == shown["removed"]
    assert f"s3://{BUCKET}/{prefix}/swept/trials/002/latest.json" in cleaned["removed"]
    best = run_command("show", "swept", "--json").json["best"]
    assert [f"s3://{BUCKET}/{prefix}/swept/trials/{key}" for key in objects()] == [
        best["checkpoint"]
    ]

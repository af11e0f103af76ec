"""A run of two workers whose checkpoints are kept in an object store that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paceline.tests.platform.launch.test_wide_runs import STEADY, disturb_at, points, the_run
from paceline.tests.platform.launch.work import train_workers
from paceline.tests.platform.storage.s3_double import BUCKET, S3Double

pytestmark = pytest.mark.ray


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return f"{tmp_path.parent.name}/{tmp_path.name}"


@pytest.mark.slow
def test_a_worker_is_killed_while_every_third_put_fails_and_nothing_is_lost(
    run_command, ray_here, paceline_home: Path, s3: S3Double, prefix: str
):
    Path("steady.yaml").write_text("model: steady.Steady\ndata: steady.Line\n")
    s3.fail(3, 403)
    killer = disturb_at(paceline_home / "runs" / "killed", 10, lambda: train_workers()[1].kill())
    answer = run_command(
        "fit", "steady.yaml", *STEADY, "--model.step_s", 0.05, "--trainer.max_epochs", 4, "--name",
        "killed", "--launch.save_every_n_steps", 5, "--storage", s3.storage(prefix), "--json",
    )  # fmt: skip
    killer.join()
    assert answer.code == 0, answer.err
    assert "Starting again from the latest checkpoint" in answer.err
    assert any(line.endswith("failed") for line in s3.asked())
    run = the_run(paceline_home)
    assert points(paceline_home, run, "train/number") == [(n, float(n)) for n in range(32)]
    latest = json.loads(s3.read(f"{prefix}/killed/latest.json"))
    best = json.loads(s3.read(f"{prefix}/killed/best.json"))
    assert latest["step"] == 32
    address = f"s3://{BUCKET}/{prefix}/killed/checkpoints/{best['digest']}.ckpt"
    assert answer.json["checkpoint"] == address
    objects = {f"checkpoints/{one['digest']}.ckpt" for one in (latest, best)}
    found = set(s3.keys(f"{prefix}/killed"))
    assert found == objects | {"best.json", "latest.json", "state.json"}
    assert run.data.tags["paceline.storage"].startswith(f"s3://{BUCKET}/{prefix}/killed?")

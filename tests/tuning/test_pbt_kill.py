"""A population whose driver is killed again and again ends like one that was left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from paceline.platform.tracking.store import Store
from paceline.tuning.journal import JOURNAL, read_rows
from paceline.tuning.rows import TrialRow

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LEDGER = """
seed_everything: 3
model: {class_path: ledger.Ledger}
data: {class_path: ledger.Steps}
optimizer: {class_path: torch.optim.SGD, init_args: {lr: 1.0, momentum: 0.5}}
trainer: {max_epochs: 8, accelerator: cpu, enable_progress_bar: false, log_every_n_steps: 1}
sweep:
  metric: val/weight
  mode: max
  trials: 4
  scheduler: pbt
  population: {interval: 2, quantile: 0.25}
  space:
    learning_rate: {to: [optimizer.lr], loguniform: [0.01, 100.0]}
    push: {to: [model.push], uniform: [0.5, 2.0]}
"""
# Lines of the journal after which the driver is killed: in the first generation, between two, among
# the verdicts of one, and in the last. There are about ninety.
KILLED_AT = (9, 27, 33, 48, 70)


def run(home: Path, folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "paceline", *words, "--json"]
    paths = os.pathsep.join([str(Path(__file__).parent / "models"), str(folder)])
    environment = {**os.environ, "PACELINE_HOME": str(home), "PYTHONPATH": paths}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log
        )


def kill_behind(process: subprocess.Popen[bytes], journal: Path, lines: int) -> None:
    while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, f"ended before line {lines}"
        time.sleep(0.005)
    process.kill()
    process.communicate()


def fate(row: TrialRow) -> tuple[Any, ...]:
    history = [(r.epoch, r.step, r.score) for r in row.history]
    return (row.number, row.status, row.seed, row.values, row.copies, row.verdicts, history)


def test_a_population_killed_in_a_loop_is_the_one_that_was_never_killed(
    paceline_home: Path, tmp_path: Path
):
    (tmp_path / "ledger.yaml").write_text(LEDGER)
    sweep = ("sweep", "ledger.yaml", "--name")
    out, _ = run(paceline_home, tmp_path, *sweep, "whole").communicate(timeout=200)
    assert json.loads(out)["status"] == "finished"

    words: tuple[str, ...] = (*sweep, "killed")
    for lines in KILLED_AT:
        process = run(paceline_home, tmp_path, *words)
        kill_behind(process, paceline_home / "runs/killed" / JOURNAL, lines)
        words = ("resume", "killed")
    out, _ = run(paceline_home, tmp_path, *words).communicate(timeout=200)
    result = json.loads(out)

    whole, killed = (
        [*read_rows(paceline_home / "runs" / name, "val/weight", "max")]
        for name in ("whole", "killed")
    )
    assert [fate(row) for row in killed] == [fate(row) for row in whole]
    assert max(row.attempt for row in killed) > 1
    store = Store(result["tracking_uri"])
    assert list(store.children(result["run_id"]).values()) == ["finished"] * 4
    for row in killed:
        points = store.client.get_metric_history(row.run_id, "train/weight")
        assert sorted(p.step for p in points) == [*range(24)]

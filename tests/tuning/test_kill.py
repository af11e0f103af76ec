"""A sweep whose driver is killed again and again ends like one that was left alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from paceline.platform.tracking.store import Store
from paceline.tuning.journal import JOURNAL, read_rows
from paceline.tuning.rows import Rows, TrialRow

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SWEEP = ["sweep", "mlp", "--trials", "6", "--seed", "1", "--trainer.max_epochs", "9"]
SWEEP += ["--vary", "learning_rate,dropout,layer_size", "--scheduler", "asha", "--json"]


def start(home: Path, log: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "paceline", *words]
    environment = {**os.environ, "PACELINE_HOME": str(home)}
    with log.open("ab") as err:
        return subprocess.Popen(
            command, cwd=log.parent, env=environment, stdout=subprocess.PIPE, stderr=err
        )


def num_lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def kill_when(process: subprocess.Popen[bytes], journal: Path, lines: int, log: Path) -> None:
    deadline = time.monotonic() + 120
    while num_lines(journal) < lines:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
    process.kill()
    process.communicate()


def answer(process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, log.read_text()
    return json.loads(out)


def fate(row: TrialRow) -> tuple[Any, ...]:
    """All of a trial that must not hang on interruptions."""
    history = [(r.epoch, r.step, measured(r.metrics)) for r in row.history]
    verdicts = [verdict.as_dict() for verdict in row.verdicts]
    end = (row.status, row.stop_reason, row.score, row.best_epoch)
    return (row.number, row.values, row.seed, end, history, verdicts)


def measured(metrics: dict[str, float]) -> dict[str, float]:
    """What a validation measured; Lightning shows it the training's loss of the epoch before too.

    The first validation behind a checkpoint knows none. MLflow has every epoch's, see `points`.
    """
    return {name: value for name, value in metrics.items() if name.startswith("val/")}


def points(store: Store, row: TrialRow) -> dict[str, list[tuple[int, float]]]:
    """Metric -> its points in MLflow in the order of the steps, the machine's own left out."""
    names = [name for name in store.metrics(row.run_id) if not name.startswith("system/")]
    found = {name: store.client.get_metric_history(row.run_id, name) for name in names}
    points = {name: sorted((p.step, p.value) for p in history) for name, history in found.items()}
    # Lightning writes the epoch's number beside the training's metrics and the validation's.
    return points | {"epoch": sorted({*points["epoch"]})}


def rows_of(home: Path, name: str) -> Rows:
    return read_rows(home / "runs" / name, "val/loss", "min")


@pytest.fixture
def whole_home(empty_store: Path, tmp_path: Path) -> Path:
    """The home of the sweep that nobody kills: it runs beside the other, without waiting for it."""
    home = tmp_path / "whole-home"
    home.mkdir()
    shutil.copy(empty_store, home / "mlflow.db")
    return home


@pytest.mark.parametrize(
    "killed_at",  # lines of the journal after which the driver is killed
    [
        pytest.param((14,), id="in the first trials"),
        pytest.param(
            (2, 14, 30),
            id="in a loop",
        ),
    ],
)
def test_a_sweep_whose_driver_is_killed_ends_like_one_that_was_never_killed(
    paceline_home: Path, whole_home: Path, tmp_path: Path, killed_at: tuple[int, ...]
):
    whole_log, log = tmp_path / "whole.txt", tmp_path / "killed.txt"
    left_alone = start(whole_home, whole_log, *SWEEP, "--name", "whole")
    try:
        words = [*SWEEP, "--name", "killed"]
        journal = paceline_home / "runs" / "killed" / JOURNAL
        for lines in killed_at:
            kill_when(start(paceline_home, log, *words), journal, lines, log)
            words = ["resume", "killed", "--json"]
        killed = answer(start(paceline_home, log, *words), log)
        whole = answer(left_alone, whole_log)
    finally:
        left_alone.kill()

    expected, found = rows_of(whole_home, "whole"), rows_of(paceline_home, "killed")
    assert [fate(row) for row in found] == [fate(row) for row in expected]
    assert {row.stop_reason for row in found} == {"completed", "early_stopped"}
    assert max(row.attempt for row in found) > 1
    for key in ("trial_id", "config"):
        assert killed["best"][key] == whole["best"][key]
    assert measured(killed["best"]["metrics"]) == measured(whole["best"]["metrics"])

    store = Store(killed["tracking_uri"])
    children = store.children(killed["run_id"])
    assert len(children) == 6
    assert set(children.values()) == {"finished"}
    assert store.status(killed["run_id"]) == "finished"
    assert not store.client.search_runs(
        [store.client.get_run(killed["run_id"]).info.experiment_id], "attributes.status = 'RUNNING'"
    )
    whole_store = Store(whole["tracking_uri"])
    for mine, theirs in zip(found, expected, strict=True):
        assert points(store, mine) == points(whole_store, theirs)

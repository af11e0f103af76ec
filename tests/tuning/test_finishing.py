"""A trial was stopped at a rung, and killed with its driver before it could write the rest."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import paceline
import pytest
from paceline.platform.home import read_state, write_state
from paceline.platform.tracking.store import Store
from paceline.tuning.journal import JOURNAL, read_rows
from paceline.tuning.result import SweepResult
from paceline.tuning.rows import TrialRow

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.usefixtures("ray_here", "module_home"),
]


@pytest.fixture(scope="module")
def whole(module_home: Path) -> SweepResult:
    """Trials one after another, the last of them stopped early."""
    config = {"trainer.max_epochs": 6, "sweep.max_concurrent": 1, "sweep.grace": 2}
    config |= {"sweep.points": [{"learning_rate": 0.01}, {"learning_rate": 0.0003}]}
    return paceline.sweep("mlp", name="cut", trials=2, vary=["learning_rate"], config=config)


def points(store: Store, row: TrialRow) -> dict[str, list[tuple[int, float]]]:
    names = store.client.get_run(row.run_id).data.metrics
    histories = {n: store.client.get_metric_history(row.run_id, n) for n in names}
    return {
        name: [(point.step, point.value) for point in history]
        for name, history in histories.items()
        if not name.startswith("system/")
    }


def forget_the_end(folder: Path) -> None:
    """The journal's last word is the verdict, as after a kill."""
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    while b'"event": "verdict"' not in lines[-1]:
        lines.pop()
    (folder / JOURNAL).write_bytes(b"".join(lines))
    write_state(folder, read_state("cut") | {"status": "running"})


def lose_points(home: Path, run_id: str, from_step: int) -> None:
    """The store has nothing from a step on."""
    with sqlite3.connect(home / "mlflow.db") as base:
        base.execute("DELETE FROM metrics WHERE run_uuid = ? AND step >= ?", (run_id, from_step))
        base.execute("DELETE FROM latest_metrics WHERE run_uuid = ?", (run_id,))
        columns = "key, value, timestamp, {}, is_nan, run_uuid"
        base.execute(
            f"INSERT INTO latest_metrics ({columns.format('step')}) "
            f"SELECT {columns.format('MAX(step)')} FROM metrics WHERE run_uuid = ? GROUP BY key",
            (run_id,),
        )


def test_it_goes_on_to_where_it_was_stopped_and_nothing_is_missing(
    whole: SweepResult, module_home: Path
):
    folder, store = module_home / "runs" / "cut", Store(whole.tracking_uri)
    stopped = whole.rows.by_number[1]
    assert stopped.stop_reason == "early_stopped"
    before = points(store, stopped)
    forget_the_end(folder)
    lose_points(module_home, stopped.run_id, from_step=stopped.history[0].step)
    for path in (folder / "trials" / stopped.trial_id).glob("*.ckpt*"):
        path.unlink()

    resumed = paceline.resume("cut")
    again = read_rows(folder, "val/loss", "min").by_number[1]
    assert resumed.status == again.status == "finished"
    assert (again.stop_reason, again.attempt, again.run_id) == (
        "early_stopped",
        2,
        stopped.run_id,
    )
    assert [r.score for r in again.history] == [r.score for r in stopped.history]
    assert points(store, again) == before
    assert store.status(stopped.run_id) == "finished"

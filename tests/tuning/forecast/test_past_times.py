"""Times of earlier runs and sweeps, from records as they are really written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from paceline.platform.errors import UserError
from paceline.platform.home import write_state
from paceline.tuning.forecast.past_times import read_past_times
from paceline.tuning.forecast.timing import IMPORT_S
from paceline.tuning.journal import Journal
from paceline.tuning.rows import Rows

AROUND_S, EPOCH_S, OVERHEAD_S, EPOCHS = 7.0, 2.0, 1.5, 5


@pytest.fixture
def past_sweep(paceline_home: Path) -> str:
    """Two trials of five epochs, one of a single epoch and one that failed."""
    folder = paceline_home / "runs" / "past"
    folder.mkdir(parents=True)
    now = [1000.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now[0])
        journal = Journal(folder, Rows("val/loss", "min"))
        journal.write("sweep", name="past", time_axis="epoch")
        now[0] += 4.0
        for number, epochs in enumerate((EPOCHS, EPOCHS, 1, 0)):
            journal.write("begin", number, values={}, seed=1, origin="random")
            journal.write("start", number)
            now[0] += OVERHEAD_S
            for epoch in range(1, epochs + 1):
                now[0] += EPOCH_S
                report = {"epoch": epoch, "at": epoch, "step": 10 * epoch, "time": now[0]}
                journal.write("report", number, **report, metrics={"val/loss": 1.0})
            journal.write("end", number, status="finished" if epochs else "failed")
        journal.close()
    state = {**_STATE, "name": "past", "kind": "sweep", "metric": "val/loss"}
    training = 4 * OVERHEAD_S + (2 * EPOCHS + 1) * EPOCH_S
    write_state(folder, state | {"seconds": AROUND_S + training})
    (folder / "trials" / "000").mkdir(parents=True)
    (folder / "trials" / "000" / "latest.ckpt").write_bytes(bytes(12345))
    return "past"


_STATE: dict[str, Any] = {"run_id": "", "status": "finished", "mode": "min", "tracking_uri": ""}


def test_a_sweeps_journal_tells_start_overhead_and_pace(past_sweep: str):
    past = read_past_times(past_sweep, None, "epoch")
    assert len(past.paces) == 2  # of one epoch, and of none, nothing can be told
    for pace in past.paces:
        assert pace.per_unit_s == pytest.approx(EPOCH_S)
        assert pace.overhead_s == pytest.approx(OVERHEAD_S)
    assert past.around_s == pytest.approx(AROUND_S)
    assert past.checkpoint_bytes == 12345


def test_a_sweep_on_another_time_axis_is_refused(past_sweep: str):
    with pytest.raises(UserError, match="on the same time axis"):
        read_past_times(past_sweep, None, "step")


def test_a_plan_takes_the_times_of_a_sweep_and_measures_nothing(past_sweep: str, run_command):
    flags = ["--trials", 6, "--scheduler", "none", "--trainer.max_epochs", 10]
    flags += ["--sweep.max_concurrent", 1]
    done = run_command("plan", "mlp", "--json", *flags, "--like", past_sweep)
    assert done.code == 0, done.err
    assert done.json["measured"] == {"from": "past", "configurations": 2}
    one = OVERHEAD_S + 10 * EPOCH_S
    assert done.json["seconds"]["estimate"] == pytest.approx(IMPORT_S + AROUND_S + 6 * one, abs=0.2)


@pytest.mark.slow
def test_a_plan_takes_the_times_of_a_run(run_command):
    flags = ["--trainer.max_epochs", 6, "--seed", 1, "--tracking.log_model", "false"]
    ran = run_command("fit", "mlp", "--json", "--name", "once", *flags)
    assert ran.code == 0, ran.err
    done = run_command("plan", "mlp", "--json", "--trials", 4, *flags[:4], "--like", "once")
    assert done.code == 0, done.err
    assert done.json["measured"]["from"] == "once"
    trial = done.json["trial_seconds"]["median"]
    assert 0.2 * ran.json["seconds"] < trial < 1.5 * ran.json["seconds"]


def test_a_run_of_one_validation_has_no_pace(run_command):
    flags = ["--trainer.max_epochs", 1, "--seed", 1, "--tracking.log_model", "false"]
    assert run_command("fit", "mlp", "--name", "short", *flags).code == 0
    done = run_command("plan", "mlp", "--like", "short")
    assert done.code == 2
    assert "two validations" in done.err

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from paceline.tuning.ledger import JOURNAL, Ledger, Rows, is_better, read_rows


def rows_of(*scores: list[float], mode: str = "min") -> Rows:
    rows = Rows("val/loss", mode)
    for number, history in enumerate(scores):
        rows.apply({"event": "begin", "number": number, "values": {"x": number}, "seed": 1})
        for epoch, value in enumerate(history, 1):
            metrics = {"val/loss": value, "other": epoch}
            rows.apply({"event": "report", "number": number, "epoch": epoch, "metrics": metrics})
    return rows


def test_the_best_trial_is_the_smallest_or_the_largest_by_mode():
    assert rows_of([0.3], [0.1], [0.2]).best().number == 1
    assert rows_of([0.3], [0.1], [0.2], mode="max").best().number == 0


def test_the_earliest_of_equal_trials_is_the_best():
    assert rows_of([0.1], [0.1]).best().number == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_finite_number_is_never_the_best(bad):
    assert rows_of([bad], [0.9]).best().number == 1
    assert rows_of([bad]).best() is None
    assert rows_of([bad], [0.9], mode="max").best().number == 1


def test_a_trial_keeps_the_metrics_of_its_best_epoch():
    row = rows_of([0.5, 0.2, 0.4]).by_number[0]
    assert (row.score, row.best_epoch, row.epoch) == (0.2, 2, 3)
    assert row.metrics == {"val/loss": 0.2, "other": 2}


def test_a_trial_without_the_metric_keeps_its_last_metrics():
    rows = rows_of([])
    rows.apply({"event": "report", "number": 0, "epoch": 1, "metrics": {"other": 3}})
    assert rows.by_number[0].metrics == {"other": 3}
    assert rows.best() is None


def test_epochs_add_up_over_trials():
    assert rows_of([1.0, 1.0], [1.0]).epochs == 3


def test_better_needs_a_strict_improvement():
    assert is_better(1.0, None, "min")
    assert not is_better(1.0, 1.0, "min")
    assert is_better(0.9, 1.0, "min")
    assert is_better(1.1, 1.0, "max")


def test_the_journal_gives_back_the_rows(tmp_path: Path):
    ledger = Ledger(tmp_path, Rows("val/loss", "min"))
    ledger.write("begin", 0, values={"lr": 0.1, "size": [8, 4]}, seed=5)
    ledger.write("run", 0, run_id="abc")
    ledger.write("start", 0)
    ledger.write("report", 0, epoch=1, metrics={"val/loss": math.nan})
    ledger.write("report", 0, epoch=2, metrics={"val/loss": 0.5})
    ledger.write("end", 0, status="finished", stop_reason="completed")
    ledger.close()
    (row,) = read_rows(tmp_path, "val/loss", "min")
    (kept,) = ledger.rows
    assert row.values == {"lr": 0.1, "size": [8, 4]}
    assert (row.run_id, row.seed, row.status, row.score) == ("abc", 5, "finished", 0.5)
    assert (row.seconds, row.stop_reason) == (kept.seconds, "completed")


def test_every_event_is_on_disk_before_write_returns(tmp_path: Path):
    ledger = Ledger(tmp_path, Rows("val/loss", "min"))
    ledger.write("begin", 0, values={}, seed=1)
    assert json.loads((tmp_path / JOURNAL).read_text())["event"] == "begin"
    ledger.close()


def test_a_torn_last_line_and_foreign_lines_are_left_out(tmp_path: Path):
    ledger = Ledger(tmp_path, Rows("val/loss", "min"))
    ledger.write("begin", 0, values={}, seed=1)
    ledger.close()
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('[1, 2]\n{"note": 1}\n{"event": "begin", "numb')
    assert len(read_rows(tmp_path, "val/loss", "min")) == 1


def test_an_event_of_a_later_version_changes_nothing():
    rows = rows_of([0.5])
    rows.apply({"event": "celebrate", "number": 0})
    assert rows.by_number[0].score == 0.5


def test_a_folder_without_a_journal_has_no_trials(tmp_path: Path):
    assert len(read_rows(tmp_path, "val/loss", "min")) == 0

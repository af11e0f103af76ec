from __future__ import annotations

import io

import pytest
from paceline.tuning.rows import Rows
from paceline.tuning.table import (
    eta_s,
    fitting_knobs,
    format_seconds,
    format_value,
    progress,
    shown_rows,
    trial_line,
    trials_table,
)
from rich.console import Console


def sweep(num_over: int = 2, num_running: int = 1) -> Rows:
    """Ended trials of 10 s each, then running ones that began at time 0."""
    rows = Rows("val/loss", "min")
    for number in range(num_over + num_running):
        values = {"learning_rate": 0.001 * (number + 1), "layer_size": [256, 128]}
        rows.apply({"event": "begin", "number": number, "values": values})
        rows.apply({"event": "start", "number": number, "time": 0.0})
        metrics = {"val/loss": 1.0 / (number + 1)}
        rows.apply({"event": "report", "number": number, "epoch": 3, "metrics": metrics})
        if number < num_over:
            end = {"status": "finished", "stop_reason": "completed", "time": 10.0}
            rows.apply({"event": "end", "number": number, **end})
    return rows


def text_of(table, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


def test_the_table_marks_the_best_trial():
    text = text_of(trials_table(sweep(3, 0)))
    (best,) = [line for line in text.splitlines() if line.startswith("*")]
    assert best.split()[0] == "*002"
    assert "0.3333" in best
    assert "[256, 128]" in best


def test_knobs_that_do_not_fit_are_left_out_and_trials_stay():
    text = text_of(trials_table(sweep(), width=50), width=50)
    assert "layer_size" not in text
    assert all(f"{n:03d}" in text for n in range(3))
    assert fitting_knobs([*sweep()], 16) == ["learning_rate"]


def test_a_long_sweep_shows_the_living_the_best_and_the_newest():
    rows = sweep(30, 2)
    rows.by_number[4].score = 0.0001
    numbers = [row.number for row in shown_rows(rows, 6)]
    assert numbers == [4, 27, 28, 29, 30, 31]


def test_the_time_left_is_that_of_the_trials_to_come_side_by_side():
    assert eta_s(sweep(2, 0), total=6, width=1) == pytest.approx(40)
    assert eta_s(sweep(2, 0), total=6, width=2) == pytest.approx(20)


def test_there_is_no_time_left_before_the_first_and_after_the_last_trial():
    assert eta_s(sweep(0, 0), 6, 2) is None
    assert eta_s(sweep(6, 0), 6, 2) is None


def test_progress_counts_trials_epochs_and_failures():
    rows = sweep(2, 0)
    rows.by_number[1].status = "failed"
    assert progress(rows, 4, 1) == "2/4 trials | 6 epochs | 1 failed | about 20 s left"


def test_a_failed_trial_s_line_has_its_error():
    rows = sweep(1, 0)
    rows.by_number[0].status, rows.by_number[0].error = "failed", "ValueError: no"
    assert "ValueError: no" in trial_line(rows.by_number[0], rows)


def test_an_early_stop_is_told_apart_from_the_end():
    rows = sweep(1, 0)
    rows.by_number[0].stop_reason = "early_stopped"
    assert "trial 000 stopped after 3 epochs in 10.0 s" in trial_line(rows.by_number[0], rows)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")]
)
def test_seconds_are_told_as_people_say_them(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00012345, "0.0001234"), (None, "-"), ([1, 2], "[1, 2]"), ("adam", "adam"), (True, "true")],
)
def test_values_are_short(value, text):
    assert format_value(value) == text


def test_a_population_s_table_says_whom_a_member_copied():
    rows = Rows("loss", "min")
    for number in range(2):
        rows.apply({"event": "begin", "number": number, "values": {"lr": 0.1}, "time": 0.0})
        told = {"epoch": 2, "step": 2, "metrics": {"loss": 0.1 + number}}
        rows.apply({"event": "report", "number": number, "time": 0.0, **told})
    verdict = {"rule": "pbt", "rung": 2.0, "value": 1.1, "cutoff": 0.1, "rank": 2, "of": 2}
    verdict |= {"stops": False, "donor": 0, "values": {"lr": 0.08}}
    assert "copied" not in text_of(trials_table(rows))
    rows.apply({"event": "verdict", "number": 1, "time": 0.0, **verdict})
    text = text_of(trials_table(rows))
    assert "copied" in text
    assert "000 @2" in text
    assert "0.08" in text

from __future__ import annotations

import math

from paceline.tuning.report.sweep_report import SweepReport, WinnerMetric
from paceline.tuning.report.terminal import terminal_text
from paceline.tuning.rows import Rows


def test_before_the_first_trial_ends_there_is_nothing_to_tell():
    assert terminal_text(SweepReport("x", Rows("val/loss", "min"))) == ""


def test_the_terminal_has_bars_rungs_and_advice(report_of):
    lines = terminal_text(report_of(200)).splitlines()
    assert lines[0].startswith("What decides (permutation importance, 199 trials, ")
    assert lines[1].split()[0] == "learning_rate"
    assert lines[1].count("█") == 30
    assert lines[1].endswith(" %")
    assert lines[2].split()[0] == "optimizer"
    assert 0 < lines[2].count("█") < 30
    (rungs,) = [line for line in lines if line.startswith("Early stopping")]
    assert "epoch ... 200 to 1, " in rungs
    assert " % saved" in rungs
    advice = lines.index("What to try next")
    assert lines[advice + 1].startswith("  - Widen learning_rate at its upper end. ")
    assert "`" not in "".join(lines)
    assert lines[-1].startswith("  paceline sweep mlp ")


def test_sentences_keep_to_the_terminal_s_width(report_of):
    commands = ("  paceline ", "      ")  # one copies them whole
    text = terminal_text(report_of(200, objectives={"num_parameters": "min"}))
    assert max(len(line) for line in text.splitlines() if not line.startswith(commands)) <= 120


def test_the_front_s_members_are_listed_by_the_deciding_metric(report_of):
    report = report_of(20, halving=False, objectives={"num_parameters": "min"})
    lines = terminal_text(report).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Pareto front: "))
    best = report.rows.best()
    assert best is not None
    assert lines[start + 1].startswith(f"  {best.trial_id}  val/loss {best.score:.4g}  num_par")


def test_the_winner_s_seeds_come_first(report_of):
    winner = (WinnerMetric("test/accuracy", 0.98123, 0.00412), WinnerMetric("x", 1.0, math.nan))
    lines = terminal_text(report_of(3, winner=winner, winner_seeds=5)).splitlines()
    assert lines[0] == "The best configuration with 5 seeds, mean and 95 % interval"
    assert lines[1].split() == ["test/accuracy", "0.9812", "±", "0.0041"]
    assert lines[2].split() == ["x", "1"]

"""What became of a trial, or what it waits for: each fate with its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from paceline.tuning.manage.explain import explain, needed_at_next_rung
from paceline.tuning.rows import Rows
from paceline.tuning.stopping.judge import Judge
from paceline.tuning.stopping.rules import Halving, Hyperband, Median, Rule

METRIC = "val/loss"
NAN = math.nan


class Told:
    """Rows told event by event, and a judge over them; rungs at 1, 3 and 9 unless told."""

    def __init__(self, rule: Rule | None = None, mode: str = "min", in_order: bool = True):
        self.rows = Rows(METRIC, mode)
        rule = rule or Halving(1, 3, 27, mode)
        self.judge = Judge(rule, self.rows, in_order=in_order)

    def event(self, kind: str, number: int, **details) -> None:
        self.rows.apply({"event": kind, "number": number, "time": 0.0, **details})

    def trial(self, number: int, scores: Sequence[float] = (), *, starts: bool = True) -> None:
        self.event("begin", number, values={})
        if starts:
            self.event("start", number)
        for epoch, score in enumerate(scores, 1):
            self.event("report", number, epoch=epoch, step=10 * epoch, metrics={METRIC: score})

    def judge_all(self, number: int) -> None:
        """Judge a trial at every rung that it has come to, as the driver does."""
        while self.judge.open_rung(number) is not None:
            verdict = self.judge.verdict(number)
            assert verdict is not None
            self.event("verdict", number, **verdict.as_dict())

    def end(self, number: int, status: str = "finished", **details) -> None:
        self.event("end", number, status=status, **details)

    def explain(self, number: int, **how):
        return explain(self.rows.by_number[number], self.rows, self.judge, **how)


def test_a_completed_trial_tells_its_best_epoch_and_its_rank():
    told = Told()
    told.trial(0, [0.9, 0.4, 0.6])
    told.judge_all(0)
    told.end(0, stop_reason="completed")
    told.trial(1, [0.2])
    why = told.explain(0)
    assert why.outcome == "completed"
    assert "trained to its end: 3 epochs" in why.text
    assert "past the rungs 1, 3" in why.text
    assert "0.4, came at epoch 2: rank 2 of 2" in why.text
    assert (why.facts["epoch"], why.facts["best_epoch"], why.facts["score"]) == (3, 2, 0.4)


@pytest.mark.parametrize(("mode", "worse", "better"), [("min", 0.9, 0.1), ("max", 0.1, 0.9)])
def test_a_stopped_trial_tells_the_rung_the_value_and_the_cutoff(mode, worse, better):
    told = Told(mode=mode)
    told.trial(0, [better])
    told.trial(1, [worse])
    told.judge_all(1)
    told.end(1, stop_reason="early_stopped")
    why = told.explain(1)
    assert why.outcome == "stopped"
    assert "stopped by asha at rung 1 (epoch 1)" in why.text
    assert f"{worse:g}, was worse than the cutoff of {better:g} (rank 2 of 2)" in why.text
    assert why.facts["verdict"] == {
        "rule": "asha",
        "rung": 1.0,
        "value": worse,
        "cutoff": better,
        "rank": 2,
        "of": 2,
        "stops": True,
    }


def test_the_median_is_told_as_what_it_is():
    told = Told(Median(1, 27, "min"))
    for number in range(3):
        told.trial(number, [0.1 * (number + 1)])
    told.trial(3, [0.5])
    told.judge_all(3)
    told.end(3, stop_reason="early_stopped")
    assert "0.5, was worse than 0.2, the median of 3 others' running means" in told.explain(3).text


def test_an_early_stop_of_an_unknown_cause_says_so():
    told = Told()
    told.trial(0, [0.5])
    told.end(0, stop_reason="early_stopped")
    why = told.explain(0)
    assert why.outcome == "stopped"
    assert "the journal does not say" in why.text


@pytest.mark.parametrize("reason", ["early_stopped", "diverged"])
@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_a_diverged_trial_tells_since_when(reason, bad):
    told = Told()
    told.trial(0, [0.9, NAN, 0.8, bad, NAN])
    told.end(0, stop_reason=reason)
    why = told.explain(0)
    assert why.outcome == "diverged"
    assert "no finite number from epoch 4 on (step 40)" in why.text
    assert (why.facts["diverged_epoch"], why.facts["diverged_step"]) == (4, 40)
    assert "0.8, came at epoch 3" in why.text


def test_a_trial_that_diverged_at_a_rung_is_not_called_worse():
    told = Told()
    told.trial(0, [NAN])
    told.judge_all(0)
    told.end(0, stop_reason="early_stopped")
    why = told.explain(0)
    assert why.outcome == "diverged"
    assert "It never had a finite val/loss" in why.text


def test_a_trial_that_diverged_between_two_validations_tells_what_is_known():
    told = Told()
    told.trial(0, [0.9])
    told.end(0, stop_reason="diverged", detail="its loss was NaN at step 17")
    assert "its loss was NaN at step 17" in told.explain(0).text


def test_a_failed_trial_tells_its_error_and_its_attempts():
    told = Told()
    told.trial(0, [0.9])
    told.rows.apply({"event": "resume", "time": 5.0})
    told.event("start", 0)
    told.end(0, "failed", error="ValueError: no", detail="its process died")
    why = told.explain(0)
    assert why.outcome == "failed"
    assert "failed after 1 epoch (attempt 2): ValueError: no. Its process died." in why.text
    assert (why.facts["error"], why.facts["attempts"]) == ("ValueError: no", 2)


@pytest.mark.parametrize(
    ("detail", "said"),
    [("its time was up", "because its time was up"), ("", "because a limit of the sweep")],
)
def test_a_budget_tells_which_limit(detail, said):
    told = Told()
    told.trial(0, [0.9, 0.8])
    told.end(0, stop_reason="budget", detail=detail)
    why = told.explain(0)
    assert why.outcome == "budget"
    assert said in why.text


def test_a_killed_trial_will_go_on():
    told = Told()
    told.trial(0, [0.9])
    told.end(0, "killed", detail="the sweep's time was up")
    why = told.explain(0)
    assert why.outcome == "killed"
    assert "after 1 epoch (the sweep's time was up)" in why.text


def test_a_running_trial_tells_what_its_next_rung_asks():
    told = Told()
    for number, score in enumerate([0.3, 0.2, 0.4]):
        told.trial(number, [1.0, 1.0, score])
    told.trial(3, [0.9, 0.8])
    told.event(
        "verdict", 3, rule="asha", rung=1.0, value=0.9, cutoff=None, rank=1, of=1, stops=False
    )
    why = told.explain(3)
    assert why.outcome == "running"
    assert "has done 2 epochs; val/loss was 0.8" in why.text
    assert "At rung 3, its next, it would need val/loss of at most 0.3 by now (3 rivals" in why.text
    assert (why.facts["next_rung"], why.facts["cutoff"], why.facts["rivals"]) == (3, 0.3, 3)


def test_what_a_rung_asks_is_what_the_rule_would_decide():
    """Just as good goes on, a little worse does not: the number told is the number applied."""
    for score, stops in ((0.3, False), (0.3001, True)):
        told = Told()
        for number, there in enumerate([0.3, 0.2, 0.4]):
            told.trial(number, [1.0, 1.0, there])
        told.trial(3, [0.9, 0.8])
        told.event(
            "verdict", 3, rule="asha", rung=1.0, value=0.9, cutoff=None, rank=1, of=1, stops=False
        )
        needed = needed_at_next_rung(told.rows.by_number[3], told.rows, told.judge)
        assert needed is not None
        assert needed.cutoff == 0.3
        told.event("report", 3, epoch=3, metrics={METRIC: score})
        verdict = told.judge.verdict(3)
        assert verdict is not None
        assert verdict.stops is stops


def test_in_the_other_mode_a_rung_asks_for_at_least():
    told = Told(mode="max")
    told.trial(0, [0.7])
    told.trial(1)
    assert "at least 0.7" in told.explain(1).text


def test_the_first_at_a_rung_is_not_stopped_there():
    told = Told()
    told.trial(0)
    why = told.explain(0)
    assert "is in its first epoch" in why.text
    assert "never" not in why.text
    assert "nothing would stop it (0 rivals" in why.text
    assert why.facts["cutoff"] is None


def test_behind_the_last_rung_a_trial_trains_to_its_end():
    told = Told()
    told.trial(0, [0.5] * 9)
    told.judge_all(0)
    why = told.explain(0)
    assert "No rung is before it" in why.text
    assert "next_rung" not in why.facts


def test_a_sweep_that_stops_nobody_has_no_rungs():
    rows_only = Told()
    rows_only.judge = Judge(None, rows_only.rows, in_order=True)
    rows_only.trial(0, [0.5])
    assert "No rung is before it" in rows_only.explain(0).text


def test_explaining_changes_no_row():
    told = Told()
    told.trial(0, [0.5])
    told.trial(1, [0.9])
    before = [(len(row.history), len(row.verdicts)) for row in told.rows]
    told.explain(1)
    assert [(len(row.history), len(row.verdicts)) for row in told.rows] == before


def test_in_order_a_trial_waits_at_a_rung_for_one_before_it():
    told = Told()
    told.trial(0)
    told.trial(1, [0.5])
    why = told.explain(1)
    assert why.outcome == "waiting"
    assert "waits at rung 1 for trial 000 (epoch 0, running)" in why.text
    assert (why.facts["rung"], why.facts["waits_for"]) == (1, "000")
    told.trial(2)
    told.event("report", 0, epoch=1, metrics={METRIC: 0.6})
    assert told.explain(1).outcome == "running"  # its verdict is due


def test_a_trial_waits_for_nobody_behind_it_nor_for_one_that_is_over():
    told = Told()
    told.trial(0)
    told.end(0, "failed", error="x")
    told.trial(1, [0.5])
    told.trial(2)
    assert told.explain(1).outcome == "running"


def test_out_of_order_nobody_waits():
    told = Told(in_order=False)
    told.trial(0)
    told.trial(1, [0.5])
    assert told.explain(1).outcome == "running"


def test_of_brackets_only_those_of_its_own_are_waited_for():
    rule = Hyperband(1, 3, 9, "min")
    told = Told(rule)
    same = next(n for n in range(1, 50) if rule.are_rivals(0, n))
    for number in range(same):
        told.trial(number, [] if number == 0 or not rule.are_rivals(0, number) else [0.1])
    told.trial(same, [0.5] * int(rule.rungs(same)[0]))
    assert told.explain(same).facts["waits_for"] == "000"


def test_a_pending_trial_tells_who_is_before_it():
    told = Told()
    told.trial(0, [0.5])
    told.trial(1, starts=False)
    told.trial(2, starts=False)
    told.trial(3, starts=False)
    why = told.explain(2)
    assert why.outcome == "pending"
    assert why.text == "Trial 002 waits for a free slot behind 001; 000 runs now."
    assert (why.facts["behind"], why.facts["running"]) == (["001"], ["000"])


@pytest.mark.parametrize(("starts", "said"), [(True, "had done 1 epoch"), (False, "had not begun")])
def test_without_a_driver_nothing_runs(starts, said):
    told = Told()
    told.trial(0, [0.5] if starts else [], starts=starts)
    why = told.explain(0, is_driven=False)
    assert why.outcome == "interrupted"
    assert said in why.text
    told.end(0, stop_reason="completed")
    assert told.explain(0, is_driven=False).outcome == "completed"

"""When a trial is judged: the same verdicts whatever the order in which trials come to a rung."""

from __future__ import annotations

import random

import pytest
from paceline.tuning.rows import Rows
from paceline.tuning.stopping.judge import Judge
from paceline.tuning.stopping.rules import Halving, Hyperband, Rule

EPOCHS = 27


def begin(rows: Rows, number: int) -> None:
    rows.apply({"event": "begin", "number": number, "values": {}})
    rows.apply({"event": "start", "number": number, "time": 0})


def report(rows: Rows, number: int, epoch: int, value: float) -> None:
    event = {"event": "report", "number": number, "epoch": epoch, "metrics": {"m": value}}
    rows.apply(event)


def end(rows: Rows, number: int) -> None:
    rows.apply({"event": "end", "number": number, "status": "finished", "time": 1})


def note(rows: Rows, judge: Judge, number: int) -> bool:
    """Write the verdict at the open rung; whether it stops the trial."""
    verdict = judge.verdict(number)
    assert verdict is not None
    rows.apply({"event": "verdict", "number": number, **verdict.as_dict()})
    return verdict.stops


def play(width: int, rule: Rule, curves: list[list[float]], shuffle: random.Random) -> Rows:
    """A sweep of `width` slots, in which whose turn it is to train an epoch is drawn at random."""
    rows = Rows("m", "min")
    judge = Judge(rule, rows, in_order=True)
    living: list[int] = []
    while len(rows) < len(curves) or living:
        while len(living) < width and len(rows) < len(curves):
            begin(rows, len(rows))
            living.append(len(rows) - 1)
        number = shuffle.choice(living)
        if judge.open_rung(number) is not None:
            if judge.waits_for(number) is not None:
                continue
            if note(rows, judge, number):
                end(rows, number)
                living.remove(number)
                continue
        row = rows.by_number[number]
        if row.epoch == EPOCHS:
            end(rows, number)
            living.remove(number)
            continue
        report(rows, number, row.epoch + 1, curves[number][row.epoch])
    return rows


@pytest.mark.parametrize("rule", [Halving(1, 3, 27, "min"), Hyperband(1, 3, 27, "min")])
def test_in_order_the_sweep_is_the_same_at_any_width_and_in_any_interleaving(rule):
    draw = random.Random(5)
    curves = [[draw.random() for _ in range(EPOCHS)] for _ in range(25)]
    expected = {
        row.number: (row.epoch, [v.as_dict() for v in row.verdicts])
        for row in play(1, rule, curves, random.Random(0))
    }
    assert len({epochs for epochs, _ in expected.values()}) > 2
    for width, seed in [(2, 1), (2, 2), (4, 3), (25, 4)]:
        rows = play(width, rule, curves, random.Random(seed))
        found = {r.number: (r.epoch, [v.as_dict() for v in r.verdicts]) for r in rows}
        assert found == expected


def two_at_the_first_rung(*, in_order: bool) -> tuple[Rows, Judge]:
    rows = Rows("m", "min")
    begin(rows, 0)
    begin(rows, 1)
    report(rows, 1, 1, 0.5)
    return rows, Judge(Halving(1, 2, 9, "min"), rows, in_order=in_order)


def test_in_order_a_trial_waits_for_one_before_it_until_that_comes_or_ends():
    rows, judge = two_at_the_first_rung(in_order=True)
    assert judge.waits_for(1) == 0
    report(rows, 0, 1, 0.1)
    assert judge.waits_for(1) is None
    assert note(rows, judge, 1)
    rows, judge = two_at_the_first_rung(in_order=True)
    end(rows, 0)
    assert judge.waits_for(1) is None
    assert not note(rows, judge, 1)


def test_in_order_nobody_waits_for_a_later_trial():
    rows, judge = two_at_the_first_rung(in_order=True)
    report(rows, 0, 1, 0.9)
    assert judge.waits_for(0) is None
    assert not note(rows, judge, 0)  # trial 1 was there before it and better, but comes later


def test_out_of_order_who_comes_first_is_compared_with_nobody_and_nobody_waits():
    rows, judge = two_at_the_first_rung(in_order=False)
    assert judge.waits_for(1) is None
    assert not note(rows, judge, 1)
    report(rows, 0, 1, 0.9)
    assert note(rows, judge, 0)


def test_a_trial_is_judged_once_at_each_rung():
    rows, judge = two_at_the_first_rung(in_order=False)
    assert judge.open_rung(1) == 1
    note(rows, judge, 1)
    assert judge.open_rung(1) is None
    assert judge.verdict(1) is None
    report(rows, 1, 2, 0.4)
    assert judge.open_rung(1) == 2


def test_without_a_rule_there_are_no_rungs():
    rows, _ = two_at_the_first_rung(in_order=True)
    judge = Judge(None, rows, in_order=True)
    assert judge.rungs(0) == ()
    assert judge.open_rung(1) is None

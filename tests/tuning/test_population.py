"""Who copies whom, and what a copy changes: pure functions of rows."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from paceline.tuning.manage.explain import explain
from paceline.tuning.population.explore import Exploration, perturbed
from paceline.tuning.population.judge import PopulationJudge
from paceline.tuning.population.lineage import ancestry, lineage, schedule
from paceline.tuning.population.rule import PopulationRule
from paceline.tuning.population.rung_files import disposable
from paceline.tuning.rows import Rows
from paceline.tuning.search.space import Space, read_space

SPACE = {
    "learning_rate": {"to": ["optimizer.lr"], "loguniform": [1e-4, 1.0]},
    "layer_size": {"to": ["model.hidden_sizes"], "choice": [[32], [64]]},
}


def space_of(data: dict[str, Any]) -> Space:
    return read_space(data, {})


def rule(size: int = 4, **changes: Any) -> PopulationRule:
    exploration = Exploration(space_of(SPACE), {"learning_rate"}, 0.0, (0.5, 2.0))
    given = {"interval": 2.0, "horizon": 8.0, "mode": "min", "quantile": 0.25, "seed": 1}
    return PopulationRule(size, exploration=exploration, **{**given, **changes})


class Sweep:
    """A population whose members report what a test says."""

    def __init__(self, size: int = 4, *, in_order: bool = True, **changes: Any):
        self.rows = Rows("loss", "min")
        self.judge = PopulationJudge(rule(size, **changes), self.rows, in_order=in_order)
        for number in range(size):
            values = {"learning_rate": 0.01 * (number + 1), "layer_size": [32 * (1 + number % 2)]}
            self.tell("begin", number, values=values, seed=number)
            self.tell("run", number, run_id=f"run{number}")

    def tell(self, event: str, number: int, **details: Any) -> None:
        self.rows.apply({"event": event, "number": number, "time": 0.0, **details})

    def report(self, number: int, epoch: int, loss: float) -> None:
        self.tell("report", number, epoch=epoch, step=10 * epoch, metrics={"loss": loss})

    def generation(self, epoch: int, losses: list[float]) -> None:
        """All members come to a rung and are judged there."""
        for number, loss in enumerate(losses):
            self.report(number, epoch, loss)
        for number in range(len(losses)):
            self.judge_now(number)

    def judge_now(self, number: int) -> None:
        verdict = self.judge.verdict(number)
        assert verdict is not None
        self.tell("verdict", number, **verdict.as_dict())


def test_the_worst_quarter_copies_the_best_quarter_with_its_held_knobs_and_a_changed_one():
    sweep = Sweep()
    sweep.generation(2, [0.1, 0.3, 0.2, 0.9])
    assert [row.copies for row in sweep.rows][:3] == [[], [], []]
    (copy,) = sweep.rows.by_number[3].copies
    assert (copy.donor, copy.rung, copy.epoch, copy.step, copy.own_step) == (0, 2, 2, 20, 20)
    assert copy.values["layer_size"] == [32]  # its own was [64]
    assert copy.values["learning_rate"] in (0.005, 0.02)  # the donor's 0.01, halved or doubled
    assert list(copy.changes) == ["learning_rate"]
    assert sweep.rows.by_number[3].values == copy.values


def test_truncation_takes_as_many_from_the_top_as_from_the_bottom():
    donors = set()
    for seed in range(40):
        sweep = Sweep(10, quantile=0.3, seed=seed)
        sweep.generation(2, [float(n) for n in range(10)])
        copiers = {row.number for row in sweep.rows if row.copies}
        assert copiers == {7, 8, 9}
        donors |= {row.copies[0].donor for row in sweep.rows if row.copies}
    assert donors == {0, 1, 2}  # with 120 draws one is missed with odds of 1e-21
    assert [rule().num_copied(n) for n in (1, 2, 3, 4, 8, 9)] == [0, 1, 1, 1, 2, 2]


def test_the_verdicts_of_a_generation_do_not_hang_on_the_order_in_which_they_are_made():
    losses = [0.5, 0.1, math.nan, 0.9, 0.3, 0.2]
    expected = None
    for order in itertools.permutations(range(6)):
        sweep = Sweep(6, quantile=0.34)
        for number in order:
            sweep.report(number, 2, losses[number])
        for number in reversed(order):
            sweep.judge_now(number)
        found = [(row.values, row.verdicts[0].rank, row.copies) for row in sweep.rows]
        expected = expected or found
        assert found == expected


def test_in_order_a_member_waits_for_all_others_even_for_those_that_have_not_begun():
    sweep = Sweep(3)
    sweep.report(0, 2, 0.1)
    assert sweep.judge.waits_for(0) == 1
    sweep.tell("end", 1, status="failed")
    assert sweep.judge.waits_for(0) == 2
    sweep.report(2, 2, 0.2)
    assert sweep.judge.waits_for(0) is None
    del sweep.rows.by_number[2]
    assert sweep.judge.waits_for(0) == 2


def test_out_of_order_nobody_waits_and_the_first_has_nobody_to_copy():
    sweep = Sweep(3, in_order=False)
    for number, loss in ((2, 0.3), (0, 0.9), (1, 0.1)):
        sweep.report(number, 2, loss)
        assert sweep.judge.waits_for(number) is None
        sweep.judge_now(number)
    of = {row.number: row.verdicts[0].of for row in sweep.rows}
    assert of == {2: 1, 0: 2, 1: 3}
    assert [c.donor for c in sweep.rows.by_number[0].copies] == [2]


def test_a_member_whose_loss_is_no_number_copies_at_the_next_rung_without_training_to_it():
    sweep = Sweep(4)
    for number in (0, 1, 2):
        sweep.report(number, 2, 0.1 * (number + 1))
    assert sweep.judge.waits_for(0) == 3
    sweep.report(3, 1, 0.01)
    sweep.tell("diverged", 3, epoch=2, step=13)
    assert sweep.judge.open_rung(3) == 2
    assert sweep.judge.waits_for(0) is None
    for number in (3, 0, 1, 2):
        sweep.judge_now(number)
    row = sweep.rows.by_number[3]
    assert [c.donor for c in row.copies] == [0]
    assert (row.epoch, row.at, row.diverged_at) == (2, 2.0, None)
    assert [len(r.copies) for r in sweep.rows] == [0, 0, 0, 1]  # it was the quarter that copies
    sweep.report(3, 3, 0.05)
    assert row.at == 3
    assert sweep.judge.open_rung(3) is None


def test_what_a_copy_came_to_later_is_not_taken_for_its_score_at_the_rung():
    sweep = Sweep(3, in_order=False)
    sweep.report(0, 2, 0.3)
    sweep.judge_now(0)
    sweep.tell("diverged", 2, epoch=1, step=4)
    sweep.judge_now(2)
    sweep.report(2, 3, 0.05)  # good, but no checkpoint of it at the rung is its own
    sweep.report(1, 2, 0.9)
    sweep.judge_now(1)
    assert [c.donor for c in sweep.rows.by_number[1].copies] == []
    assert sweep.rows.by_number[1].verdicts[0].rank == 2  # only the lost one was worse


def test_where_no_member_has_a_finite_score_they_end():
    sweep = Sweep(2)
    sweep.generation(2, [math.nan, math.inf])
    assert all(row.stopped_by for row in sweep.rows)


def test_a_copy_of_a_copy_has_the_weights_and_the_schedule_of_both():
    sweep = Sweep(4)
    sweep.generation(2, [0.1, 0.3, 0.2, 0.9])  # 3 copies 0
    first = sweep.rows.by_number[3].copies[0].values["learning_rate"]
    sweep.generation(4, [0.5, 0.9, 0.4, 0.1])  # 1 copies 3
    second = sweep.rows.by_number[1].copies[0].values["learning_rate"]
    row = sweep.rows.by_number[1]
    assert [(start, r.number) for start, r in ancestry(row, sweep.rows)] == [(0, 0), (2, 3), (4, 1)]
    assert schedule(row, sweep.rows, "learning_rate") == [(0, 0.01), (2, first), (4, second)]
    told = lineage(sweep.rows)
    assert [(e["trial"], e["donor"]) for e in told] == [("003", "000"), ("001", "003")]
    assert told[1]["changed"] == {"learning_rate": [first, second]}
    assert told[1]["donor_run_id"] == "run3"


def test_the_best_values_are_those_of_the_best_epoch_not_of_the_end():
    sweep = Sweep(4)
    sweep.report(3, 1, 0.05)
    before = sweep.rows.by_number[3].values
    sweep.generation(2, [0.1, 0.3, 0.2, 0.9])
    row = sweep.rows.by_number[3]
    assert row.best_values == before != row.values
    sweep.report(3, 3, 0.01)
    assert row.best_values == row.values


def test_the_record_s_steps_go_on_where_the_member_was_whatever_its_donor_counts():
    sweep = Sweep(2)
    sweep.tell("report", 0, epoch=2, step=500, metrics={"loss": 0.1})
    sweep.tell("report", 1, epoch=2, step=80, metrics={"loss": 0.2})
    for number in range(2):
        sweep.judge_now(number)
    row = sweep.rows.by_number[1]
    assert row.step_offset == 80 - 500
    sweep.tell("report", 0, epoch=4, step=1000, metrics={"loss": 0.3})
    sweep.tell("report", 1, epoch=4, step=1000, metrics={"loss": 0.2})
    for number in range(2):
        sweep.judge_now(number)
    assert sweep.rows.by_number[0].copies[0].donor == 1
    assert sweep.rows.by_number[0].step_offset == 0


def test_a_rung_s_checkpoints_are_kept_for_members_that_have_yet_to_begin():
    sweep = Sweep(3, in_order=False)
    for number in range(3):
        sweep.report(number, 2, 0.1 * (number + 1))
        sweep.judge_now(number)
    sweep.report(1, 3, 0.1)
    sweep.report(2, 3, 0.1)
    assert disposable(sweep.rows, sweep.judge, 2.0)
    last = sweep.rows.by_number.pop(2)
    assert not disposable(sweep.rows, sweep.judge, 2.0)
    assert last.copies


def test_why_says_whom_a_member_waits_for():
    sweep = Sweep(3)
    sweep.tell("start", 0)
    sweep.report(0, 2, 0.1)
    sweep.tell("pause", 0)
    told = explain(sweep.rows.by_number[0], sweep.rows, sweep.judge)
    assert (told.outcome, told.facts["waits_for"]) == ("waiting", "001")
    assert "waits at rung 2 for trial 001" in told.text


def test_a_rung_s_checkpoints_are_kept_until_every_copy_has_trained_on():
    sweep = Sweep(2)
    assert not disposable(sweep.rows, sweep.judge, 2.0)
    sweep.generation(2, [0.1, 0.2])  # 1 copies 0
    assert not disposable(sweep.rows, sweep.judge, 2.0)
    sweep.report(1, 3, 0.1)
    assert disposable(sweep.rows, sweep.judge, 2.0)
    assert not disposable(sweep.rows, sweep.judge, 4.0)


@pytest.mark.parametrize(
    ("knob", "value", "found"),
    [
        ({"loguniform": [1e-4, 1e-1]}, 1e-2, {8e-3, 1.2e-2}),
        ({"uniform": [0.0, 0.5]}, 0.45, {0.36, 0.5}),
        ({"randint": [1, 9]}, 1, {1, 2}),
        ({"randint": [1, 90]}, 50, {40, 60}),
        ({"quniform": [0.0, 1.0, 0.1]}, 0.1, {0.0, 0.2}),
        ({"choice": [8, 16, 32]}, 16, {8, 32}),
        ({"choice": ["none", {"noise": 0.3}]}, "none", {"noise"}),
    ],
)
def test_a_perturbed_value_is_near_and_inside_its_bounds(knob: Any, value: Any, found: set[Any]):
    (read,) = space_of({"model.x": knob}).knobs
    got = [perturbed(read, value, (0.8, 1.2), u) for u in (0.0, 0.25, 0.5, 0.75)]
    keys = {next(iter(v)) if isinstance(v, dict) else round(v, 12) for v in got}
    assert keys == found


def test_resampling_draws_from_the_knob_s_own_distribution():
    sure = Exploration(space_of(SPACE), {"learning_rate"}, 1.0, (1.2,))
    values = sure.values({"learning_rate": 0.5, "layer_size": [64]}, lambda name: 0.0)
    assert values == {"learning_rate": pytest.approx(1e-4), "layer_size": [64]}


def test_a_knob_that_a_changed_one_calls_for_is_drawn():
    data = {
        "kind": {"to": ["model.kind"], "choice": ["a", "b"]},
        "strength": {"to": ["model.strength"], "uniform": [0.0, 1.0], "when": {"kind": ["b"]}},
    }
    exploration = Exploration(space_of(data), {"kind", "strength"}, 0.0, (1.2,))
    assert exploration.values({"kind": "a"}, lambda name: 0.5) == {"kind": "b", "strength": 0.5}
    assert exploration.values({"kind": "b", "strength": 0.1}, lambda name: 0.5) == {"kind": "a"}

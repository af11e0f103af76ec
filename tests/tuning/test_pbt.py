"""A population on a real Ray and a real store: copies take the weights and keep their changes."""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path
from typing import Any

import paceline
import pytest
import torch
from ledger import STEPS
from mlflow import MlflowClient
from paceline.platform.configuration.config import load
from paceline.platform.errors import UserError
from paceline.platform.signals import Interrupted
from paceline.platform.tracking.store import Store
from paceline.tuning.journal import read_rows
from paceline.tuning.manage.why import why
from paceline.tuning.plan import plan_sweep
from paceline.tuning.population.lineage import schedule
from paceline.tuning.result import SweepResult
from paceline.tuning.rows import Rows, TrialRow

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here", "module_home")]

EPOCHS, SIZE = 8, 4
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
    momentum: {to: [optimizer.momentum], uniform: [0.1, 0.9]}
    push: {to: [model.push], uniform: [0.5, 2.0]}
    start: {to: [model.start], choice: [0.0, 0.5]}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipes") / "ledger.yaml"
    path.write_text(LEDGER)
    return str(path)


@pytest.fixture(scope="module")
def evolved(module_home: Path, recipe: str) -> SweepResult:
    """Four members, two at a time, never interrupted."""
    return paceline.sweep(recipe, name="evolved")


def expected_weight(row: TrialRow, rows: Rows) -> float:
    """The weight at the end, from nothing but what the journal says the knobs were."""
    knobs = {name: schedule(row, rows, name) for name in ("learning_rate", "momentum", "push")}
    starts = [start for start, _ in knobs["push"]] + [float(EPOCHS)]
    weight, buffer = schedule(row, rows, "start")[0][1], 0.0
    for i, (start, end) in enumerate(itertools.pairwise(starts)):
        for _ in range(int(end - start) * STEPS):
            buffer = knobs["momentum"][i][1] * buffer + knobs["push"][i][1]
            weight += knobs["learning_rate"][i][1] * buffer
    return weight


def fate(row: TrialRow) -> tuple[Any, ...]:
    history = [(r.epoch, r.step, r.score) for r in row.history]
    return (row.number, row.status, row.values, row.copies, row.verdicts, history)


def client_of(result: SweepResult) -> MlflowClient:
    return Store(result.tracking_uri).client


def copies_of(rows: Rows) -> list[TrialRow]:
    return [row for row in rows if row.copies]


def test_a_copy_takes_the_donor_s_weights_and_momentum_and_its_changed_knobs_hold(
    evolved: SweepResult, module_home: Path
):
    assert len([copy for row in evolved.rows for copy in row.copies]) == 3  # one at each rung
    assert all(copy.changes for row in evolved.rows for copy in row.copies)
    for row in evolved.rows:
        assert row.history[-1].score == pytest.approx(expected_weight(row, evolved.rows), rel=1e-12)
        latest = module_home / "runs/evolved/trials" / row.trial_id / "latest.ckpt"
        (group,) = torch.load(latest, weights_only=True)["optimizer_states"][0]["param_groups"]
        knobs = (row.values["learning_rate"], row.values["momentum"])
        assert (group["lr"], group["momentum"]) == knobs


def test_every_epoch_of_every_member_is_in_the_record_once(evolved: SweepResult):
    for row in evolved.rows:
        assert [report.epoch for report in row.history] == [*range(1, EPOCHS + 1)]
        points = client_of(evolved).get_metric_history(row.run_id, "val/weight")
        assert [(p.step, p.value) for p in points] == [(r.step - 1, r.score) for r in row.history]
        steps = [p.step for p in client_of(evolved).get_metric_history(row.run_id, "train/weight")]
        assert sorted(steps) == [*range(EPOCHS * STEPS)]


def test_a_member_s_learning_rate_can_be_drawn_over_its_steps(evolved: SweepResult):
    for row in evolved.rows:
        points = client_of(evolved).get_metric_history(row.run_id, "hp/learning_rate")
        drawn = {p.step: p.value for p in points}
        assert len(drawn) == len(points)
        for step, value in drawn.items():
            rung_after = 2.0 * (step // (2 * STEPS) + 1)
            assert value == row.values_at(rung_after)["learning_rate"]
        assert {0, STEPS - 1, EPOCHS * STEPS - 1} <= drawn.keys()


def test_mlflow_says_who_copied_whom_and_what_changed(evolved: SweepResult):
    client = client_of(evolved)
    path = client.download_artifacts(evolved.run_id, "lineage.json")
    copies = json.loads(Path(path).read_text())["copies"]
    assert len(copies) == 3
    for row in copies_of(evolved.rows):
        tags, last = client.get_run(row.run_id).data.tags, row.copies[-1]
        told = f"{last.donor:03d} at epoch {last.epoch}, step {last.step}"
        assert tags["paceline.copied_from"] == told
        assert json.loads(tags["knob.learning_rate"]) == row.values["learning_rate"]
        entry = next(e for e in copies if (e["trial"], e["rung"]) == (row.trial_id, last.rung))
        assert entry["donor_run_id"] == evolved.rows.by_number[last.donor].run_id
        assert entry["changed"]["learning_rate"][1] == row.values["learning_rate"]


def test_the_initial_weights_are_held_and_a_copy_has_its_donor_s(evolved: SweepResult):
    for row in copies_of(evolved.rows):
        assert all(copy.values["start"] == copy.donated["start"] for copy in row.copies)


def test_nothing_is_left_of_the_rungs_when_all_have_trained_out(
    evolved: SweepResult, module_home: Path
):
    assert not [*(module_home / "runs/evolved/trials").glob("*/rung-*")]


def test_why_tells_whom_a_member_copied_and_what_it_changed(evolved: SweepResult):
    row = copies_of(evolved.rows)[0]
    answer, text = why("evolved", row.trial_id)
    copy = row.copies[-1]
    assert answer["copies"][-1]["donor"] == f"{copy.donor:03d}"
    assert f"trial {copy.donor:03d}" in text
    assert "learning_rate" in text


@pytest.mark.slow
def test_a_population_that_was_stopped_goes_on_one_at_a_time_to_the_same_end(
    evolved: SweepResult, recipe: str, module_home: Path
):
    folder = module_home / "runs" / "cut"

    def stop_in_the_third_generation() -> None:
        while read_rows(folder, "val/weight", "max").epochs < 20:
            time.sleep(0.01)
        (folder / "stop").touch()

    folder.mkdir(parents=True)
    threading.Thread(target=stop_in_the_third_generation, daemon=True).start()
    with pytest.raises(Interrupted):
        paceline.sweep(recipe, name="cut")
    resumed = paceline.resume("cut", config={"sweep.max_concurrent": 1})
    assert [fate(row) for row in resumed.rows] == [fate(row) for row in evolved.rows]
    store = Store(resumed.tracking_uri)
    assert list(store.children(resumed.run_id).values()) == ["finished"] * SIZE


@pytest.mark.slow
def test_out_of_order_copies_are_true_as_well(recipe: str):
    free = paceline.sweep(recipe, name="free", config={"sweep.in_order": False})
    assert copies_of(free.rows)
    begun = max(row.history[0].order for row in free.rows)
    ahead = min(r.order for row in free.rows for r in row.history if r.epoch > 2)
    assert begun < ahead  # who is at a rung lets the others begin first
    for row in free.rows:
        assert row.history[-1].score == pytest.approx(expected_weight(row, free.rows), rel=1e-12)


@pytest.fixture(scope="module")
def rescued(module_home: Path, recipe: str) -> SweepResult:
    """One member diverges in its second epoch; another makes one step where they make three."""
    space = {
        "learning_rate": {"to": ["optimizer.lr"], "uniform": [0.5, 2.0]},
        "mishap": {"to": ["model.mishap"], "choice": ["nan", "none"]},
        "batch_size": {"to": ["data.batch_size"], "choice": [1, 3]},
    }
    points = [("nan", 1), ("none", 1), ("none", 3)]
    told = [{"learning_rate": 1.0, "mishap": m, "batch_size": b} for m, b in points]
    config = {"sweep.space": space, "sweep.points": told, "trainer.max_epochs": 6}
    config["sweep.population.mutate"] = ["learning_rate"]
    return paceline.sweep(recipe, name="rescued", trials=3, config=config)


@pytest.mark.slow
def test_a_member_that_diverges_goes_on_as_a_copy(rescued: SweepResult):
    lost = rescued.rows.by_number[0]
    assert lost.copies[0].rung == 2.0
    assert (lost.status, lost.stop_reason, lost.epoch) == ("finished", "completed", 6)
    assert [r.epoch for r in lost.history] == [1, 3, 4, 5, 6]  # it trained no further than that
    assert lost.values["mishap"] == "none"


def test_a_copy_of_a_member_with_more_steps_an_epoch_counts_its_own_in_the_record(
    rescued: SweepResult,
):
    slow = rescued.rows.by_number[2]
    assert [(c.rung, c.own_step, c.step) for c in slow.copies] == [(4.0, 4, 12)]
    points = client_of(rescued).get_metric_history(slow.run_id, "train/weight")
    assert sorted(p.step for p in points) == [*range(4 + 2 * STEPS)]


REFUSED = [
    ({"sweep.population.mutate": ["start", "wide"]}, "knobs that vary"),
    ({"sweep.population.mutate": ["width"]}, "the weights of one network do not fit the other's"),
    ({"sweep.population.interval": 8}, "less than the horizon, 8"),
    ({"sweep.search": "tpe"}, "random or grid under pbt"),
    ({"sweep.winner_seeds": 2}, "finds a schedule and no configuration"),
    ({"sweep.trials": 1}, "at least 2 under pbt"),
    ({"trainer.enable_checkpointing": False}, "members copy each other's checkpoints"),
    ({"sweep.vary": ["width"]}, "a knob that can change in the middle of a run"),
]


@pytest.mark.parametrize(("changes", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_cannot_evolve_is_refused_before_anything_starts(
    recipe: str, changes: dict[str, Any], told: str
):
    changes = {"sweep.space.width": {"to": ["model.width"], "choice": [1, 2]}, **changes}
    config = load(recipe, {key: (value, key) for key, value in changes.items()})
    with pytest.raises(UserError, match=told):
        plan_sweep(config)


def test_a_population_does_not_grow(evolved: SweepResult):
    with pytest.raises(UserError, match="a population, which does not grow"):
        paceline.extend("evolved", 2)

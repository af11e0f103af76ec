"""A sweep whose trials have two workers each: what they reach, what is recorded, what they survive.

Each worker takes two of the three samples (one of them twice), so an epoch has two steps.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import paceline
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from paceline.platform.tracking.store import Store
from paceline.tuning.population.lineage import schedule
from paceline.tuning.result import SweepResult
from paceline.tuning.rows import Rows, TrialRow

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.usefixtures("ray_here", "module_home")]

STEPS, RATE, MOMENTUM = 2, 0.1, 0.5
LEDGER = """
seed_everything: 3
model: {{class_path: ledger.Ledger}}
data: {{class_path: ledger.Steps}}
optimizer: {{class_path: torch.optim.SGD, init_args: {{lr: 0.1, momentum: 0.5}}}}
trainer:
  max_epochs: {epochs}
  accelerator: cpu
  enable_progress_bar: false
  log_every_n_steps: 1
  callbacks: [{{class_path: ledger.Process}}]
launch: {{num_workers: 2, max_failures: 1}}
sweep: {{metric: val/weight, mode: max, search: grid, scheduler: none}}
"""


def sweep(folder: Path, name: str, epochs: int, **config: Any) -> SweepResult:
    (folder / "wide.yaml").write_text(LEDGER.format(epochs=epochs))
    return paceline.sweep(str(folder / "wide.yaml"), name=name, config=config)


@pytest.fixture(scope="module")
def wide(module_home: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """Two trials without a fault, one in which a worker is killed, one whose loss is no number."""
    folder = tmp_path_factory.mktemp("wide")
    space = {"model.start": {"grid": [0.0]}, "model.mishap": {"grid": MISHAPS}}
    changes = {"sweep.space": space, "model.mark": str(folder / "mark"), "sweep.trials": 9}
    return sweep(folder, "wide", 3, **changes)


MISHAPS = ["none", "no", "nan", "kill once"]


def rows_of(result: SweepResult) -> dict[str, TrialRow]:
    return {row.values["model.mishap"]: row for row in result.rows}


def client_of(result: SweepResult) -> MlflowClient:
    return Store(result.tracking_uri).client


def run_of(result: SweepResult, mishap: str) -> Run:
    return client_of(result).get_run(rows_of(result)[mishap].run_id)


def steps_of(result: SweepResult, mishap: str, metric: str) -> list[int]:
    points = client_of(result).get_metric_history(rows_of(result)[mishap].run_id, metric)
    return sorted(point.step for point in points)


def weight_after(num_steps: int) -> float:
    weight = buffer = 0.0
    for _ in range(num_steps):
        buffer = MOMENTUM * buffer + 1.0
        weight += RATE * buffer
    return weight


def test_workers_step_together_and_every_epoch_is_told_once(wide: SweepResult):
    row = rows_of(wide)["none"]
    assert (row.status, row.stop_reason, row.attempt) == ("finished", "completed", 1)
    assert [(r.epoch, r.step) for r in row.history] == [(1, 2), (2, 4), (3, 6)]
    scores = [report.score for report in row.history]
    assert scores == pytest.approx([weight_after(n) for n in (2, 4, 6)], rel=1e-12)
    assert row.facts == {"num_parameters": 1}


def test_a_trial_is_one_run_that_says_how_wide_it_was(wide: SweepResult):
    children = client_of(wide).search_runs(
        [run_of(wide, "none").info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{wide.run_id}'",
    )
    assert len(children) == len(MISHAPS)
    assert {run.info.status for run in children} == {"FINISHED"}
    params = run_of(wide, "none").data.params
    assert (params["world_size"], params["global_batch_size"]) == ("2", "2")
    assert steps_of(wide, "none", "train/weight") == [*range(3 * STEPS)]
    assert steps_of(wide, "none", "val/weight") == [1, 3, 5]


def test_the_next_trial_of_an_actor_trains_in_the_same_processes(wide: SweepResult):
    first, second = (rows_of(wide)[name].history[0].metrics["pid"] for name in ("none", "no"))
    assert first == second
    again = rows_of(wide)["kill once"].history
    assert again[0].metrics["pid"] == first != again[-1].metrics["pid"]


def test_a_trial_one_of_whose_workers_was_killed_goes_on_in_its_run(wide: SweepResult):
    whole, killed = rows_of(wide)["none"], rows_of(wide)["kill once"]
    assert (killed.status, killed.stop_reason) == ("finished", "completed")
    assert (killed.attempt, killed.failures) == (2, 1)
    mine, theirs = ([(r.epoch, r.step, r.score) for r in row.history] for row in (killed, whole))
    assert mine == theirs
    assert steps_of(wide, "kill once", "train/weight") == [*range(3 * STEPS)]
    assert run_of(wide, "kill once").data.tags["attempt"] == "2"


def test_all_workers_stop_where_the_loss_of_one_is_no_number(wide: SweepResult):
    row = rows_of(wide)["nan"]
    assert (row.status, row.stop_reason, row.attempt) == ("finished", "early_stopped", 1)
    assert row.detail.startswith("diverged: no finite training loss since epoch 2, step ")


@pytest.mark.slow
def test_members_of_a_population_copy_weights_and_keep_their_changes(
    module_home: Path, tmp_path: Path
):
    space = {
        "learning_rate": {"to": ["optimizer.lr"], "loguniform": [0.01, 100.0]},
        "push": {"to": ["model.push"], "uniform": [0.5, 2.0]},
    }
    changes = {"sweep.space": space, "sweep.trials": 4, "sweep.scheduler": "pbt"}
    changes |= {"sweep.search": "random"}
    changes |= {"sweep.population.interval": 2, "sweep.population.quantile": 0.25}
    result = sweep(tmp_path, "evolved-wide", 6, **changes)
    assert [row.status for row in result.rows] == ["finished"] * 4
    assert sum(len(row.copies) for row in result.rows) == 2  # one at each rung
    for row in result.rows:
        assert [report.epoch for report in row.history] == [*range(1, 7)]
        assert row.history[-1].score == pytest.approx(expected(row, result.rows, 6), rel=1e-12)


def expected(row: TrialRow, rows: Rows, epochs: int) -> float:
    """The weight at the end, from nothing but what the journal says the knobs were."""
    knobs = {name: schedule(row, rows, name) for name in ("learning_rate", "push")}
    starts = [*(start for start, _ in knobs["push"]), math.inf]
    weight, buffer = 0.0, 0.0
    for epoch in range(epochs):
        place = max(i for i, start in enumerate(starts) if start <= epoch)
        for _ in range(STEPS):
            buffer = MOMENTUM * buffer + knobs["push"][place][1]
            weight += knobs["learning_rate"][place][1] * buffer
    return weight

"""A killed trial goes on in its own run; one whose loss is no number ends at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import paceline
import pytest
from ledger import STEPS
from mlflow import MlflowClient
from paceline.platform.tracking.store import Store
from paceline.tuning.manage.why import why
from paceline.tuning.result import SweepResult
from paceline.tuning.rows import TrialRow

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.usefixtures("ray_here", "module_home"),
]

EPOCHS = 3
LEDGER = """
seed_everything: 3
model: {class_path: ledger.Ledger}
data: {class_path: ledger.Steps}
optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1, momentum: 0.5}}
trainer: {max_epochs: 3, accelerator: cpu, enable_progress_bar: false, log_every_n_steps: 1}
sweep: {metric: val/weight, mode: max, search: grid, scheduler: none}
"""


def sweep(folder: Path, name: str, mishaps: list[str], **config: Any) -> SweepResult:
    recipe = folder / "ledger.yaml"
    recipe.write_text(LEDGER)
    space = {"model.mishap": {"grid": mishaps}}
    changes = {"sweep.space": space, "model.mark": str(folder / "mark"), **config}
    return paceline.sweep(str(recipe), name=name, trials=9, config=changes)


@pytest.fixture(scope="module")
def faulty(module_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrialRow]:
    """One trial for each fault, beside one without, each started again once at most."""
    folder = tmp_path_factory.mktemp("faulty")
    mishaps = ["none", "kill once", "kill", "nan"]
    result = sweep(folder, "faulty", mishaps, **{"launch.max_failures": 1})
    return {row.values["model.mishap"]: row for row in result.rows}


def client_of(home: Path) -> MlflowClient:
    return Store(json.loads((home / "runs/faulty/run.json").read_text())["tracking_uri"]).client


def steps(client: MlflowClient, row: TrialRow, metric: str) -> list[int]:
    return sorted(point.step for point in client.get_metric_history(row.run_id, metric))


def test_a_killed_trial_goes_on_from_its_checkpoint_to_the_same_weight(
    faulty: dict[str, TrialRow],
):
    whole, killed = faulty["none"], faulty["kill once"]
    assert (killed.status, killed.stop_reason) == ("finished", "completed")
    assert (killed.attempt, killed.failures) == (2, 1)
    mine, theirs = ([(r.epoch, r.step, r.score) for r in row.history] for row in (killed, whole))
    assert mine == theirs


def test_each_of_its_steps_is_once_in_its_one_run(faulty: dict[str, TrialRow], module_home: Path):
    client = client_of(module_home)
    killed = faulty["kill once"]
    assert steps(client, killed, "train/weight") == [*range(EPOCHS * STEPS)]
    assert steps(client, killed, "val/weight") == steps(client, faulty["none"], "val/weight")
    run = client.get_run(killed.run_id)
    assert (run.info.status, run.data.tags["attempt"]) == ("FINISHED", "2")
    store = Store(json.loads((module_home / "runs/faulty/run.json").read_text())["tracking_uri"])
    parent = json.loads((module_home / "runs/faulty/run.json").read_text())["run_id"]
    assert len(store.children(parent)) == 4


def test_a_trial_that_dies_again_and_again_fails_alone(
    faulty: dict[str, TrialRow], module_home: Path
):
    lost = faulty["kill"]
    assert (lost.status, lost.failures, lost.attempt) == ("failed", 1, 2)
    assert lost.detail == "its process died, 2 times"
    assert client_of(module_home).get_run(lost.run_id).info.status == "FAILED"
    assert faulty["none"].status == "finished"


def test_why_tells_of_deaths_and_of_the_step_at_which_a_loss_was_no_number(
    faulty: dict[str, TrialRow],
):
    _, text = why("faulty", faulty["kill once"].trial_id)
    assert "Its process died once and it went on; the last cause:" in text
    assert "worker process has died" in text
    answer, text = why("faulty", faulty["nan"].trial_id)
    assert answer["outcome"] == "diverged"
    assert answer["diverged_step"] == STEPS + 2
    assert "no finite training loss since epoch 2, step 5" in text


def test_a_loss_that_is_no_number_ends_a_trial_within_a_step(
    faulty: dict[str, TrialRow], module_home: Path
):
    lost = faulty["nan"]
    assert (lost.status, lost.stop_reason, lost.epoch) == ("finished", "early_stopped", 1)
    # The step whose loss it was is the last one: of the epoch's three the third was not made.
    assert steps(client_of(module_home), lost, "train/weight") == [*range(STEPS + 2)]


@pytest.mark.parametrize(
    ("policy", "end"), [("fail", ("failed", "", 1)), ("go_on", ("finished", "completed", EPOCHS))]
)
def test_the_policy_says_what_becomes_of_it(tmp_path: Path, policy: str, end: tuple[Any, ...]):
    one_process = {"sweep.max_concurrent": 1, "sweep.nan": policy}
    lost, fine = sweep(tmp_path, policy, ["nan", "none"], **one_process).rows
    assert (lost.status, lost.stop_reason, lost.epoch) == end
    assert fine.status == "finished"
    if policy == "fail":
        assert lost.error == "Diverged: no finite training loss since epoch 2, step 5"

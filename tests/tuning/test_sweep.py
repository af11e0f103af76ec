"""Sweeps on a real Ray, a real store and real data; the trials are seconds long."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import paceline
import pytest
from mlflow import MlflowClient
from paceline.platform.errors import RunError, UserError
from paceline.platform.tracking.store import Store
from paceline.tuning import driver, hangs
from paceline.tuning.result import SweepResult
from paceline.tuning.show import show

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here", "module_home")]

# Where nothing depends on trials that run at the same time, one process does them all: a second
# would import for seconds first.
ONE_PROCESS = {"sweep.max_concurrent": 1}
FRAGILE = """
seed_everything: 3
model: {class_path: fragile.Fragile}
data: {class_path: fragile.Line}
trainer: {max_epochs: 3, accelerator: cpu, enable_progress_bar: false}
sweep:
  metric: val/loss
  search: grid
  scheduler: none
  space: {}
"""


@pytest.fixture(scope="module")
def digits(module_home: Path) -> SweepResult:
    """Eight trials of the perceptron on digits, under ASHA, a few knobs."""
    return paceline.sweep(
        "mlp",
        name="digits",
        trials=8,
        seed=1,
        vary=["learning_rate", "layer_size", "batch_size"],
        config={"trainer.max_epochs": 4, "tracking.log_model": False},
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of the fragile model."""
    path = tmp_path / "fragile.yaml"
    path.write_text(FRAGILE)
    return path


def sweep_fragile(recipe: Path, space: dict[str, Any], **config: Any) -> SweepResult:
    config = {"sweep.space": space, **{key.replace("__", "."): v for key, v in config.items()}}
    return paceline.sweep(str(recipe), trials=20, config=config)


def client_of(result: SweepResult) -> MlflowClient:
    return Store(result.tracking_uri).client


def test_eight_trials_leave_eight_children_under_one_parent_and_none_running(digits: SweepResult):
    assert (digits.status, digits.trials) == ("finished", 8)
    children = Store(digits.tracking_uri).children(digits.run_id)
    assert len(children) == 8
    assert set(children.values()) == {"finished"}
    assert client_of(digits).get_run(digits.run_id).info.status == "FINISHED"


def test_asha_stops_trials_early_and_says_so(digits: SweepResult):
    reasons = [row.stop_reason for row in digits.rows]
    assert set(reasons) == {"completed", "early_stopped"}
    for row in digits.rows:
        tags = client_of(digits).get_run(row.run_id).data.tags
        assert tags["stop_reason"] == row.stop_reason
        assert row.epoch == 4 if row.stop_reason == "completed" else row.epoch in (1, 3)


def test_every_reported_point_is_in_mlflow_also_of_a_trial_that_was_stopped(digits: SweepResult):
    for row in digits.rows:
        points = client_of(digits).get_metric_history(row.run_id, "val/loss")
        assert [p.value for p in points] == pytest.approx([r.score for r in row.history])


def test_the_best_trial_is_the_one_with_the_smallest_loss_and_has_a_checkpoint(digits: SweepResult):
    best = min((row for row in digits.rows), key=lambda row: row.score)
    assert digits.best["trial_id"] == best.trial_id
    assert digits.best["run_id"] == best.run_id
    assert digits.best["metrics"]["val/loss"] == best.score
    assert Path(digits.best["checkpoint"]).is_file()
    tags = client_of(digits).get_run(digits.run_id).data.tags
    assert tags["paceline.best_run_id"] == best.run_id


def test_the_best_trial_s_run_has_pictures(digits: SweepResult):
    found = client_of(digits).list_artifacts(digits.best["run_id"], "figures")
    assert "figures/learning_curves.png" in [file.path for file in found]


def test_trials_run_two_at_a_time(digits: SweepResult):
    spans = [(row.begun_at, row.ended_at) for row in digits.rows]
    overlaps = [sum(a <= begun < b for a, b in spans) for begun, _ in spans]
    assert max(overlaps) == 2
    workers = {
        client_of(digits).get_run(row.run_id).data.tags["paceline.seed"] for row in digits.rows
    }
    assert len(workers) == 8  # each trial trains with a seed of its own


def test_a_trial_is_a_function_of_the_sweep_s_seed_and_its_number(digits: SweepResult):
    again = paceline.sweep(
        "mlp",
        trials=1,
        seed=1,
        vary=["learning_rate", "layer_size", "batch_size"],
        config={"trainer.max_epochs": 1},
    )
    first, repeated = digits.rows.by_number[0], again.rows.by_number[0]
    assert (repeated.values, repeated.seed) == (first.values, first.seed)


def test_the_result_is_a_table_with_a_row_a_trial(digits: SweepResult):
    frame = digits.dataframe()
    assert len(frame) == 8
    assert {"trial_id", "status", "knob.learning_rate", "val/accuracy"} <= set(frame.columns)


def test_show_reads_the_sweep_back_with_its_pictures(digits: SweepResult, module_home: Path):
    answer, text = show("digits")
    assert answer == {**digits.as_dict(), "seconds": answer["seconds"]}
    assert f"*{digits.best['trial_id']}" in text
    assert (module_home / "runs" / "digits" / "report" / "index.html").is_file()
    assert "report/index.html" in text


def test_the_parent_run_carries_the_report(digits: SweepResult):
    found = client_of(digits).list_artifacts(digits.run_id, "report")
    names = {Path(file.path).name for file in found}
    assert {"index.html", "best_so_far.png", "learning_curves.png", "slices.png"} <= names


def test_the_state_names_what_test_and_predict_need(digits: SweepResult, module_home: Path):
    state = json.loads((module_home / "runs" / "digits" / "run.json").read_text())
    assert Path(state["best"]["config_file"]).is_file()
    assert state["kind"] == "sweep"


def test_a_failing_trial_is_recorded_and_the_sweep_goes_on(recipe: Path):
    space = {"model.mishap": {"grid": ["none", "raise", "diverge", "die"]}}
    result = sweep_fragile(recipe, space, launch__max_failures=0)
    raised, died = result.rows.by_number[1], result.rows.by_number[3]
    by_mishap = {row.values["model.mishap"]: row for row in result.rows}
    assert {name: row.status for name, row in by_mishap.items()} == {
        "none": "finished",
        "raise": "failed",
        "diverge": "finished",
        "die": "failed",
    }
    assert raised.error == "RuntimeError: the mishap that was asked for"
    run = client_of(result).get_run(raised.run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["exception"] == raised.error
    files = [file.path for file in client_of(result).list_artifacts(raised.run_id)]
    assert "exception.txt" in files
    assert client_of(result).get_run(died.run_id).info.status == "FAILED"
    assert result.best["trial_id"] == "000"
    assert result.as_dict()["failed"] == 2


@pytest.mark.slow
def test_a_trial_that_hangs_or_finds_the_disk_full_fails_alone(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hangs, "GRACE_S", 2.0)
    space = {"model.mishap": {"grid": ["hang", "full", "none"]}}
    result = sweep_fragile(recipe, space, sweep__trial_time_s=4)
    hung, full, fine = result.rows
    assert (hung.status, full.status, fine.status) == ("failed", "failed", "finished")
    assert hung.error.startswith("HungTrial: no end 2 s after 4 s")
    assert "No space left on device" in full.error
    assert client_of(result).get_run(hung.run_id).info.status == "FAILED"
    assert result.best["trial_id"] == "002"


def test_a_trial_whose_score_is_no_number_is_stopped_and_says_since_when(recipe: Path):
    space = {"model.mishap": {"grid": ["none", "diverge"]}}
    asha = {"sweep__scheduler": "asha", "sweep__grace": 2}
    result = sweep_fragile(recipe, space, **asha, **ONE_PROCESS)
    _, diverged = result.rows
    assert (diverged.epoch, diverged.stop_reason) == (1, "early_stopped")
    assert diverged.detail == "diverged: no finite score since epoch 1, step 4"


@pytest.mark.long
@pytest.mark.parametrize("axis", [{"sweep__time_axis": "step"}, {"sweep__scheduler": "hyperband"}])
def test_rungs_stand_on_the_axis_that_is_asked_for(recipe: Path, axis: dict[str, str]):
    space = {"model.offset": {"grid": [1.0, 2.0, 3.0]}}
    config = {"trainer__max_steps": 12, "sweep__scheduler": "asha", "sweep__grace": 1, **axis}
    result = sweep_fragile(recipe, space, **config, **ONE_PROCESS)
    first, *worse = result.rows
    assert [v.rung for v in first.verdicts] == ([1, 3] if "sweep__time_axis" in axis else [1])
    assert first.history[0].at == (4 if "sweep__time_axis" in axis else 1)
    assert any(row.stopped_by for row in worse)


@pytest.mark.parametrize(
    ("axis", "key"), [("env/steps", "sweep.horizon"), ("step", "trainer.max_steps")]
)
def test_a_time_axis_other_than_epochs_needs_its_end(recipe: Path, axis: str, key: str):
    with pytest.raises(UserError, match=f"`{key}` must say where") as caught:
        sweep_fragile(
            recipe,
            {"model.offset": {"grid": [1.0]}},
            sweep__time_axis=axis,
            sweep__scheduler="asha",
        )
    assert f"--{key} 50000" in caught.value.remedy


@pytest.mark.long
def test_several_objectives_have_a_front_and_no_early_stopping(module_home: Path):
    config = {"trainer.max_epochs": 1, "sweep.objectives": {"num_parameters": "min"}}
    with pytest.raises(UserError, match="several objectives"):
        paceline.sweep("mlp", trials=2, seed=1, config=config)
    config |= {"sweep.scheduler": "none", **ONE_PROCESS}
    result = paceline.sweep(
        "mlp", trials=4, seed=1, search="tpe", vary=["layer_size"], config=config, name="front"
    )
    assert all(row.facts["num_parameters"] > 100 for row in result.rows)
    assert (module_home / "runs" / "front" / "report" / "pareto.png").is_file()


@pytest.mark.long
def test_the_winner_is_trained_again_with_seeds_that_no_trial_had(
    module_home: Path, monkeypatch: pytest.MonkeyPatch
):
    order = []

    def told(name: str, wait_s: float) -> None:
        plain = getattr(driver, name)

        def call(*arguments: Any) -> Any:
            time.sleep(wait_s)
            order.append(name)
            return plain(*arguments)

        monkeypatch.setattr(driver, name, call)

    told("draw_best", 1.0)
    told("train_winner", 0.0)
    result = paceline.sweep(
        "mlp",
        trials=2,
        seed=1,
        seeds=2,
        vary=["dropout"],
        config={"trainer.max_epochs": 2, **ONE_PROCESS},
        name="won",
    )
    # Drawing seeds what is random: beside the training it would change it.
    assert order == ["draw_best", "train_winner"]
    winner = result.winner
    assert winner["seeds"] == [2, 3]
    mean, half_width = winner["metrics"]["test/accuracy"]
    assert 0.5 < mean <= 1
    assert half_width > 0
    assert not set(winner["seeds"]) & {row.seed for row in result.rows}
    store = Store(result.tracking_uri)
    assert len(store.children(result.run_id)) == 4
    assert store.metrics(result.run_id)["winner/test/accuracy"] == pytest.approx(mean)
    assert "winner" in show("won")[0]


@pytest.mark.long
def test_a_sweep_whose_trials_all_fail_has_failed(recipe: Path):
    space = {"model.offset": {"grid": [1.0, 2.0]}}
    with pytest.raises(RunError, match="All 2 trials failed") as caught:
        sweep_fragile(recipe, space, model__mishap="raise", **ONE_PROCESS)
    assert "the mishap that was asked for" in caught.value.what


def test_a_metric_that_the_module_never_logs_ends_the_sweep_at_the_first_validation(
    recipe: Path,
):
    space = {"model.offset": {"grid": [1.0, 2.0, 3.0, 4.0, 5.0]}}
    with pytest.raises(UserError) as caught:
        sweep_fragile(recipe, space, sweep__metric="val/los", **ONE_PROCESS)
    assert "it logs: val/loss" in caught.value.remedy


@pytest.mark.long
def test_epochs_of_all_trials_stay_within_their_budget(recipe: Path):
    space = {"model.offset": {"grid": [1.0, 2.0, 3.0, 4.0]}}
    result = sweep_fragile(recipe, space, sweep__max_epochs=5)  # two at a time, on purpose
    # Never above. One may be left: a trial that has just done its last epoch, and has not told its
    # end yet, still has one set aside when the other reports.
    assert result.rows.epochs in (4, 5)
    assert {row.stop_reason for row in result.rows} == {"completed", "budget"}
    tags = client_of(result).get_run(result.run_id).data.tags
    assert tags["stop_reason"] == "budget"

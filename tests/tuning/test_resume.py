"""`resume`, `extend` and `reconcile` on a real Ray and a real store."""

from __future__ import annotations

import json
import pickle
import threading
import time
from pathlib import Path

import paceline
import pytest
from paceline.platform.configuration.config import load
from paceline.platform.errors import RunError, UserError
from paceline.platform.home import claim
from paceline.platform.runs import fit_config
from paceline.platform.signals import Interrupted
from paceline.platform.tracking.store import Store
from paceline.tuning.journal import JOURNAL, read_rows
from paceline.tuning.reconcile import reconcile
from paceline.tuning.result import SweepResult
from pytorch_lightning.callbacks import Callback

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here", "module_home")]

VARIED = ["learning_rate", "dropout"]
EPOCHS = {"trainer.max_epochs": 6}
# Where nothing depends on trials that run at the same time, one process does them all: a second
# would import for seconds first.
ONE_PROCESS = {"sweep.max_concurrent": 1}


def sweep_mlp(name: str, trials: int = 4, **config: object) -> SweepResult:
    flags = {"trials": trials, "seed": 1, "vary": VARIED}
    config = {**EPOCHS, **{key.replace("__", "."): value for key, value in config.items()}}
    return paceline.sweep("mlp", name=name, config=config, **flags)


def ask_to_stop(folder: Path, epochs: int) -> None:
    """As `paceline stop` does, once so many epochs have been reported."""

    def wait() -> None:
        while read_rows(folder, "val/loss", "min").epochs < epochs:
            time.sleep(0.02)
        (folder / "stop").write_text("")

    folder.mkdir(parents=True)
    threading.Thread(target=wait, daemon=True).start()


@pytest.fixture(scope="module")
def whole(module_home: Path) -> SweepResult:
    """Four trials, never interrupted."""
    return sweep_mlp("whole")


@pytest.fixture(scope="module")
def stopped(module_home: Path) -> SweepResult:
    """The same four, stopped in the middle."""
    ask_to_stop(module_home / "runs" / "stopped", 8)
    with pytest.raises(Interrupted) as caught:
        sweep_mlp("stopped")
    return caught.value.result


def folder_of(home: Path, name: str) -> Path:
    return home / "runs" / name


def test_a_stopped_sweep_is_killed_and_goes_on_to_the_same_result(
    whole: SweepResult, stopped: SweepResult
):
    assert stopped.status == "killed"
    store = Store(stopped.tracking_uri)
    assert "running" not in store.children(stopped.run_id).values()
    resumed = paceline.resume("stopped")
    assert resumed.status == "finished"
    told = [(r.number, r.values, r.epoch, r.score, r.stop_reason) for r in resumed.rows]
    assert told == [(r.number, r.values, r.epoch, r.score, r.stop_reason) for r in whole.rows]
    assert len(store.children(stopped.run_id)) == 4
    assert set(store.children(stopped.run_id).values()) == {"finished"}
    attempts = {
        row.run_id: store.client.get_run(row.run_id).data.tags["attempt"] for row in resumed.rows
    }
    assert "2" in attempts.values()


@pytest.mark.long
def test_a_finished_sweep_is_not_resumed_but_extended(whole: SweepResult, module_home: Path):
    with pytest.raises(UserError, match="interrupted") as caught:
        paceline.resume("whole")
    assert "paceline extend whole" in caught.value.remedy
    extended = paceline.extend("whole", 2)
    assert extended.trials == 6
    assert [row.number for row in extended.rows] == [*range(6)]
    six = sweep_mlp("six", trials=6)
    assert [row.values for row in extended.rows] == [row.values for row in six.rows]
    assert [row.score for row in extended.rows] == [row.score for row in six.rows]
    assert len(Store(whole.tracking_uri).children(whole.run_id)) == 6


@pytest.mark.long
def test_a_grid_has_no_more_than_its_points(module_home: Path):
    config = {"sweep.space": {"model.dropout": {"grid": [0.0, 0.1]}}, "trainer.max_epochs": 1}
    config |= ONE_PROCESS
    result = paceline.sweep("mlp", name="grid", search="grid", config=config)
    assert result.trials == 2
    with pytest.raises(UserError, match="more than its 2 configurations"):
        paceline.extend("grid", 3)


@pytest.mark.slow
def test_tpe_is_told_of_the_trials_there_are(module_home: Path):
    first = sweep_mlp("tpe", trials=3, sweep__search="tpe", sweep__scheduler="none", **ONE_PROCESS)
    extended = paceline.extend("tpe", 2)
    assert [row.origin for row in extended.rows] == ["tpe"] * 5
    values = [json.dumps(row.values) for row in extended.rows]
    assert len(set(values)) == 5
    assert values[:3] == [json.dumps(row.values) for row in first.rows]


def test_an_unknown_name_lists_the_nearest(whole: SweepResult):
    with pytest.raises(UserError) as caught:
        paceline.resume("whoel")
    assert "whole" in caught.value.remedy


def test_a_sweep_that_is_being_driven_is_not_touched(whole: SweepResult):
    with claim("whole", again=True), pytest.raises(UserError, match="living process"):
        paceline.extend("whole", 1)


def test_a_changed_space_says_what_differs(whole: SweepResult, module_home: Path):
    path = folder_of(module_home, "whole") / "config.yaml"
    text = path.read_text()
    assert "0.03" in text  # the upper bound of the learning rate
    path.write_text(text.replace("0.03", "0.3", 1))
    try:
        with pytest.raises(UserError, match="learning_rate") as caught:
            paceline.extend("whole", 1)
        assert "0.3" in caught.value.what
    finally:
        path.write_text(text)


def test_a_flag_that_would_change_the_trials_is_refused(whole: SweepResult):
    with pytest.raises(UserError, match="goes on as it began"):
        paceline.extend("whole", 1, config={"optimizer.lr": 0.1})


@pytest.mark.parametrize("damage", ["edited", "cut", "open"])
def test_a_journal_that_is_not_as_it_was_written_is_refused(
    whole: SweepResult, module_home: Path, damage: str
):
    journal = folder_of(module_home, "whole") / JOURNAL
    content = journal.read_bytes()
    if damage == "edited":
        journal.write_bytes(content.replace(b'"seed"', b'"sead"', 1))
    elif damage == "cut":  # at the end of a line, so that every line there is as it was
        journal.write_bytes(b"\n".join(content.split(b"\n")[:8]) + b"\n")
    else:
        journal.chmod(0o666)
    try:
        with pytest.raises((UserError, RunError)) as caught:
            paceline.extend("whole", 1)
        words = {"edited": "was changed", "cut": "every trial that has a run", "open": "go-w"}
        assert words[damage] in f"{caught.value}"
    finally:
        journal.chmod(0o644)
        journal.write_bytes(content)


def test_a_pickle_in_the_folder_is_never_opened(stopped: SweepResult, module_home: Path):
    trap = module_home / "sprung"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (trap,))

    tune = folder_of(module_home, "stopped") / "tune"
    tune.mkdir(exist_ok=True)
    for name in ("tuner.pkl", "experiment_state-x.json", "searcher-state.pkl", "trainable.pkl"):
        (tune / name).write_bytes(pickle.dumps(Trap()))
    paceline.extend("stopped", 1)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap()))
    assert trap.exists()  # so it was one


@pytest.mark.long
def test_the_best_of_an_earlier_sweep_are_tried_first(whole: SweepResult):
    liked = sweep_mlp("liked", trials=2, sweep__like="whole", trainer__max_epochs=1, **ONE_PROCESS)
    first, best = liked.rows.by_number[0], whole.rows.best()
    assert (first.origin, first.values) == ("point", best.values)


@pytest.mark.slow
def test_reconcile_ends_what_a_dead_driver_left_running(module_home: Path):
    ask_to_stop(folder_of(module_home, "dead"), 4)
    with pytest.raises(Interrupted) as caught:
        sweep_mlp("dead")
    result: SweepResult = caught.value.result
    store = Store(result.tracking_uri, "mlp").open()
    first = result.rows.by_number[0]
    store.client.update_run(first.run_id, status="RUNNING")
    store.client.update_run(result.run_id, status="RUNNING")
    second = store.create_run("dead-000", parent=result.run_id, tags={"paceline.trial": "0"})
    told = reconcile("dead")
    assert len(told["repairs"]) >= 3
    assert "running" not in store.children(result.run_id).values()
    assert store.status(result.run_id) == "killed"
    assert reconcile("dead")["repairs"] == [f"run {second} is a second one of trial 000"]
    assert paceline.resume("dead").status == "finished"


class InterruptAt(Callback):
    """Ends a run as SIGTERM would, after an epoch."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """In the middle of the next epoch."""
        if trainer.current_epoch == self.epoch and batch_idx == 3:
            raise Interrupted(15)


def test_a_single_run_goes_on_in_its_own_mlflow_run_to_the_same_end(module_home: Path):
    config = load("mlp", {"trainer.max_epochs": (5, ""), "seed_everything": (3, "")})
    expected = fit_config(config, name="plain")
    with pytest.raises(Interrupted):
        fit_config(config, name="cut", callbacks=(InterruptAt(2),))
    resumed = paceline.resume("cut")
    assert resumed.metrics == expected.metrics
    store = Store(resumed.tracking_uri)
    cut, plain = (
        [(p.step, p.value) for p in store.client.get_metric_history(run.run_id, "train/loss")]
        for run in (resumed, expected)
    )
    assert cut == plain
    with pytest.raises(UserError, match="is finished"):
        paceline.resume("cut")

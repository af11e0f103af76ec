"""Which reports wait for the sweep's answer, and what a trial tells after it was interrupted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from fragile import Fragile, Line
from paceline.platform.training.checkpoints import Checkpoints
from paceline.tuning import reporter as reporting
from paceline.tuning.reporter import LossWatch, TrialReporter, UnknownMetric


class Sent:
    """What a sweep received; it says stop from a given number of messages on."""

    def __init__(self, stop_after: int | None = None):
        self.messages: list[dict[str, Any]] = []
        self.stop_after = stop_after

    def __call__(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if self.stop_after is not None and len(self.messages) >= self.stop_after:
            raise SystemExit

    @property
    def epochs(self) -> list[list[int]]:
        return [[report["epoch"] for report in m["reports"]] for m in self.messages]


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "SEND_EVERY_S", math.inf)


def fit(reporter: TrialReporter, epochs: int, *beside: pl.Callback, **options: Any) -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=bool(beside),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        callbacks=[reporter, *beside],
    )
    trainer.fit(Fragile(**options), datamodule=Line())
    return trainer


@pytest.mark.filterwarnings("ignore")
def test_a_trial_waits_at_its_rungs_only_and_tells_the_epochs_between_together():
    sent = Sent()
    reporter = TrialReporter(0, "val/loss", sent, rungs=[1, 3])
    fit(reporter, 6)
    assert sent.epochs == [[1], [2, 3]]
    assert [report["epoch"] for report in reporter.unsent()] == [4, 5, 6]
    assert [report["step"] for report in reporter.reports] == [4, 8, 12, 16, 20, 24]


@pytest.mark.filterwarnings("ignore")
def test_under_a_budget_of_epochs_each_is_told_before_the_next():
    sent = Sent()
    fit(TrialReporter(0, "val/loss", sent, is_exact=True), 3)
    assert sent.epochs == [[1], [2], [3]]


@pytest.mark.filterwarnings("ignore")
def test_a_score_that_is_no_number_is_told_at_once():
    sent = Sent()
    fit(TrialReporter(0, "val/loss", sent), 2, mishap="diverge")
    assert sent.epochs == [[1], [2]]


@pytest.mark.filterwarnings("ignore")
def test_the_answer_to_stop_ends_the_training_at_that_rung():
    sent = Sent(stop_after=2)
    reporter = TrialReporter(0, "val/loss", sent, rungs=[1, 3, 9])
    trainer = fit(reporter, 30)
    assert reporter.is_stopped
    assert trainer.current_epoch == 3


@pytest.mark.filterwarnings("ignore")
def test_after_an_interruption_the_earlier_reports_are_told_again_and_may_end_the_trial():
    first = TrialReporter(0, "val/loss", Sent(), rungs=[9])
    fit(first, 4)
    sent = Sent(stop_after=1)
    second = TrialReporter(0, "val/loss", sent, rungs=[9])
    second.load_state_dict(first.state_dict())
    trainer = fit(second, 30)
    assert sent.epochs == [[1, 2, 3, 4]]
    assert trainer.global_step == 0


@pytest.mark.filterwarnings("ignore")
def test_rungs_on_steps_are_crossed_by_the_first_validation_behind_them():
    sent = Sent()
    fit(TrialReporter(0, "val/loss", sent, rungs=[6], time_axis="step"), 3)
    assert sent.epochs == [[1, 2]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("metric", "axis"), [("val/los", "epoch"), ("val/loss", "env/steps")])
def test_a_metric_that_is_not_logged_is_named_with_those_that_are(metric: str, axis: str):
    with pytest.raises(UnknownMetric) as caught:
        fit(TrialReporter(0, metric, Sent(), time_axis=axis), 1)
    assert "it logs: val/loss" in caught.value.remedy


@pytest.mark.filterwarnings("ignore")
def test_a_member_tells_of_a_rung_once_its_checkpoint_there_is_kept(tmp_path: Path):
    told: list[Any] = []
    rungs = [2.0, 4.0]

    def keep(reached: Sequence[float]) -> None:
        content = torch.load(tmp_path / "latest.ckpt", weights_only=True)
        told.append(("kept", *reached, content["epoch"]))

    def report(message: dict[str, Any]) -> None:
        told.append([r["epoch"] for r in message["reports"]])

    reporter = TrialReporter(0, "val/loss", report, rungs, keep_rungs=keep)
    fit(reporter, 5, Checkpoints(tmp_path, "val/loss"))
    assert told == [("kept", 2.0, 1), [1, 2], ("kept", 4.0, 3), [3, 4]]


@pytest.mark.filterwarnings("ignore")
def test_a_member_that_died_between_checkpoint_and_report_keeps_and_tells_it_again(tmp_path: Path):
    class Died(Exception):
        pass

    def die(reached: Sequence[float]) -> None:
        raise Died

    first = TrialReporter(0, "val/loss", Sent(), [2.0], keep_rungs=die)
    with pytest.raises(Died):
        fit(first, 4, Checkpoints(tmp_path, "val/loss"))
    kept: list[float] = []
    sent = Sent(stop_after=1)
    again = TrialReporter(0, "val/loss", sent, [2.0], keep_rungs=kept.extend)
    state = torch.load(tmp_path / "latest.ckpt", weights_only=True)["callbacks"]["TrialReporter"]
    again.load_state_dict(state)
    fit(again, 4)
    assert kept == [2.0]
    assert sent.epochs == [[1, 2]]
    assert again.is_stopped


@pytest.mark.parametrize("watches", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_is_no_number_is_told_at_its_step(watches: bool):
    sent = Sent(stop_after=1 if watches else None)
    reporter = TrialReporter(0, "val/loss", sent, watches_loss=watches)
    trainer = fit(reporter, 3, mishap="nan")
    if watches:
        assert [m["diverged"] for m in sent.messages] == [{"epoch": 2, "step": 6}]
        assert trainer.global_step == 6
    else:
        assert trainer.global_step == 12
        assert not any("diverged" in m for m in sent.messages)


def test_on_an_accelerator_a_loss_is_read_one_step_later():
    watch = LossWatch()
    assert not watch.is_lost({"loss": torch.tensor(1.0)})
    assert watch.is_lost({"loss": torch.tensor(math.nan)})
    assert watch.is_lost(torch.tensor(-math.inf))
    assert not watch.is_lost(None)

    class OnDevice(torch.Tensor):  # meta tensors have no values to read
        device = torch.device("cuda")

    late = LossWatch()
    losses = [torch.tensor(x).as_subclass(OnDevice) for x in (1.0, math.nan, 1.0)]
    assert [late.is_lost({"loss": loss}) for loss in losses] == [False, False, True]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("known", "trained"), [(0, 3), (3, 0), (4, 0)])
def test_a_trial_comes_again_to_where_it_was_stopped_and_ends_by_itself(known: int, trained: int):
    sent = Sent()
    reporter = TrialReporter(0, "val/loss", sent, rungs=[6], stops_at=3.0)
    told = [{"epoch": e, "at": float(e), "step": 4 * e, "metrics": {}} for e in range(1, known + 1)]
    reporter.load_state_dict({"reports": told})
    assert fit(reporter, 9).current_epoch == trained
    assert len(reporter.unsent()) == known + trained
    assert (sent.messages, reporter.is_stopped) == ([], False)

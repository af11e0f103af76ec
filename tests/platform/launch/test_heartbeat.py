"""What a worker tells of itself, in a training of this process."""

from __future__ import annotations

import itertools
import time
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist
from paceline.platform.launch.heartbeat import Heartbeat
from paceline.platform.launch.standstill import Beat
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback
from steady import Line, Steady


class Pause(Callback):
    """Stands in a hook for 0.6 s, once, at one place or at two in turn."""

    def __init__(self, hook: str, moves: bool):
        self.moves, self.is_done = moves, False
        setattr(self, hook, self._wait)

    def _wait(self, *_: object) -> None:
        if self.is_done:
            return
        self.is_done = True
        for lap in range(60):
            (self.here if lap % 2 and self.moves else self.there)()

    def here(self) -> None:
        time.sleep(0.01)

    def there(self) -> None:
        time.sleep(0.01)


def fit(folder: Path, beats: list[Beat], *callbacks: Callback, step_s: float = 0.05) -> None:
    heart = Heartbeat(beats.append, "east", every_s=0.005)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            default_root_dir=folder,
            accelerator="cpu",
            max_epochs=2,
            limit_train_batches=4,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            logger=False,
            callbacks=[*callbacks, heart],
        )
        trainer.fit(Steady(step_s=step_s), datamodule=Line(16, 4))


def test_counters_grow_and_the_place_is_the_models_own(tmp_path: Path):
    beats: list[Beat] = []
    fit(tmp_path, beats)
    told = [beat.passed for beat in beats]
    assert told == sorted(told)
    assert len(set(told)) >= 8  # each of its batches, at least
    assert not beats[0].has_trained
    assert beats[-2].has_trained
    ends = [beat.is_over for beat in beats]
    assert ends[-1]
    assert ends == sorted(ends)
    asleep = [beat for beat in beats if "steady.py" in beat.where]
    assert len(asleep) > len(beats) / 2
    assert asleep[0].where.endswith(" in training_step")
    assert {(beat.node, beat.is_waiting) for beat in asleep} == {("east", False)}


@pytest.mark.parametrize(
    ("hook", "moves", "counts"),
    [
        ("on_validation_epoch_end", True, True),
        ("on_validation_epoch_end", False, False),
        ("on_before_zero_grad", True, False),  # within a batch its counters alone tell
    ],
)
def test_an_epochs_end_that_computes_is_told_from_one_that_sleeps(
    hook: str, moves: bool, counts: bool, tmp_path: Path
):
    beats: list[Beat] = []
    fit(tmp_path, beats, Pause(hook, moves), step_s=0.0)
    paused = [beat.num_moves for beat in beats if "test_heartbeat.py" in beat.where]
    assert len(paused) > 10
    assert (paused[-1] - paused[0] > 5) is counts, paused


class Meet(Callback):
    """Waits for a second process, which never comes."""

    def __init__(self, folder: Path):
        self.folder, self.waited = folder, False

    def on_validation_epoch_end(self, *_: object) -> None:
        if not self.waited:
            self.waited = True
            store, patience = dist.FileStore(str(self.folder / "store"), 2), timedelta(seconds=0.5)
            with pytest.raises(RuntimeError, match="timeout"):
                dist.init_process_group("gloo", store=store, rank=0, world_size=2, timeout=patience)


def test_one_that_waits_for_the_others_in_torch_is_waiting_and_does_not_move(tmp_path: Path):
    beats: list[Beat] = []
    fit(tmp_path, beats, Meet(tmp_path), step_s=0.0)
    waiting = [beat for beat in beats if beat.is_waiting]
    assert len(waiting) > 10
    # On its way there it moves elsewhere, and what computes gradients may wait, too.
    steps = [b.num_moves - a.num_moves for a, b in itertools.pairwise(beats) if b.is_waiting]
    assert set(steps) == {0}
    assert "torch/distributed" in waiting[len(waiting) // 2].where

"""Sparing hooks must not spare one that somebody has defined."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from paceline.platform.training.step_overhead import QuietProfiler, frozen_heap, lean_steps
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.trainer import call

HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


def told(hook: str, calls: list[str]):
    def method(self, *args, **kwargs):
        calls.append(hook)

    return method


def fit(model: BoringModel, callbacks: list[Callback], folder: Path) -> torch.Tensor:
    torch.manual_seed(0)
    trainer = Trainer(
        max_steps=3,
        limit_val_batches=0,
        callbacks=callbacks,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        profiler=QuietProfiler(),
        default_root_dir=folder,
    )
    trainer.fit(model)
    return model.layer.weight.detach().clone()


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.*`val_dataloader`:UserWarning")
@pytest.mark.parametrize("owner", ["callback", "module", "callback's object"])
def test_every_defined_hook_is_called_each_step(owner: str, tmp_path: Path):
    calls: list[str] = []
    hooks = {hook: told(hook, calls) for hook in HOOKS}
    model, callback = BoringModel(), Callback()
    if owner == "callback":
        callback = type("Telling", (Callback,), hooks)()
    elif owner == "module":
        model = type("TellingModel", (BoringModel,), hooks)()
    else:
        for hook in HOOKS:
            setattr(callback, hook, lambda *_, hook=hook: calls.append(hook))
    with lean_steps():
        fit(model, [callback], tmp_path)
    assert sorted(calls) == sorted(HOOKS * 3)


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.*`val_dataloader`:UserWarning")
def test_lean_steps_train_to_the_same_weights_and_leave_lightning_as_it_was(tmp_path: Path):
    plain_hook = call._call_callback_hooks
    torch.manual_seed(1)
    model = BoringModel()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    plain = fit(model, [], tmp_path)
    model = BoringModel()
    model.load_state_dict(start)
    with lean_steps():
        assert call._call_callback_hooks is not plain_hook
        lean = fit(model, [], tmp_path)
    assert call._call_callback_hooks is plain_hook
    assert torch.equal(plain, lean)


def test_the_collector_passes_over_what_was_there_and_gets_it_back():
    before = gc.get_freeze_count()
    with frozen_heap():
        assert gc.get_freeze_count() > 100_000  # torch and Lightning are imported
    assert gc.get_freeze_count() == before == 0

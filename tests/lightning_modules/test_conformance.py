"""What every family promises, checked over every recipe of the catalog, ours and any plugin's.

A module that cannot keep a promise says so as data, promise -> reason, in its class attribute
`conformance_exceptions`; the test is then skipped with that reason in sight. Recipes whose data is
not on this machine are skipped too.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from paceline.platform import config
from paceline.platform.building import build as build_all
from paceline.platform.catalog import entries
from paceline.platform.optimization import set_optimizer
from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils._pytree import tree_map

STEPS = 3  # batches per epoch


class Recorder(pl.Callback):
    """Keeps what a fit went through: the loss of each step and the gradients of the last one."""

    def __init__(self):
        self.losses: list[float] = []
        self.gradients: dict[str, torch.Tensor | None] = {}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients = {
            name: None if p.grad is None else p.grad.clone()
            for name, p in pl_module.named_parameters()
            if p.requires_grad
        }

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))


@dataclass
class Repeated:
    """One batch again and again, as a loader."""

    batch: Any
    times: int

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[Any]:
        return itertools.repeat(self.batch, self.times)


@functools.cache
def data_of(recipe: str) -> LightningDataModule:
    """The recipe's data, read once for all tests; its order starts anew with each trainer."""
    data = build_all(config.load(recipe)).data
    try:
        data.prepare_data()
        data.setup("fit")
    except FileNotFoundError as missing:
        pytest.skip(f"{recipe}: {missing}")
    return data


def build(recipe: str, seed: int = 1) -> LightningModule:
    """A new model of a recipe with its optimizer and schedule."""
    pl.seed_everything(seed, verbose=False)
    built = build_all(config.load(recipe))
    set_optimizer(built.model, built.optimizer, built.lr_scheduler)
    return built.model


def one_batch(recipe: str, size: int | None = None) -> Any:
    """The first training batch, or its first `size` examples."""
    loader = data_of(recipe).train_dataloader()
    return tree_map(lambda part: part[:size], next(iter(loader)))


def fit(model: LightningModule, data: Any, ckpt_path: str | None = None, **arguments) -> Recorder:
    """Train on the CPU without any output; `data` is a data module or a loader."""
    recorder = Recorder()
    callbacks = [recorder, *arguments.pop("callbacks", [])]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    checkpoint = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    defaults = {"accelerator": "cpu", "max_epochs": 1, "limit_train_batches": STEPS}
    settings = {**defaults, **quiet, "enable_checkpointing": checkpoint, **arguments}
    trainer = pl.Trainer(callbacks=callbacks, **settings)
    if isinstance(data, LightningDataModule):
        trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    else:
        trainer.fit(model, data, data)  # without a loader for it, Lightning misses validation
    return recorder


@pytest.fixture(params=sorted(entries("recipes")))
def recipe(request: pytest.FixtureRequest) -> str:
    """Each recipe of the catalog, unless its module declares an exception from the running test."""
    test: str = request.function.__name__.removeprefix("test_")
    model = build_all(config.load(request.param)).model
    reason = getattr(model, "conformance_exceptions", {}).get(test)
    if reason:
        pytest.skip(f"{type(model).__name__} declares: {reason}")
    return request.param


def test_output_has_one_row_per_input_and_the_shape_of_the_example(recipe):
    model, batch = build(recipe).eval(), one_batch(recipe)
    example = model(model.example_input_array)
    inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
    if hasattr(model, "conformance_inputs"):  # what `forward` takes is not in the batch: noise
        inputs = model.conformance_inputs(batch)
    outputs = model(inputs)
    assert outputs.shape == (len(inputs), *example.shape[1:])
    assert outputs.isfinite().all()


def test_loss_is_finite_and_validation_logs_the_metric_that_the_sweep_watches(recipe):
    model = build(recipe)
    recorder = fit(model, data_of(recipe), limit_val_batches=1)
    assert torch.tensor(recorder.losses).isfinite().all()
    assert config.load(recipe).sweep.metric in model.trainer.callback_metrics


def test_every_parameter_gets_a_gradient(recipe):
    recorder = fit(build(recipe), data_of(recipe), limit_val_batches=0)
    idle = [n for n, g in recorder.gradients.items() if g is None or not g.any()]
    assert recorder.gradients
    assert idle == []


def test_one_batch_can_be_learned_by_heart(recipe):
    model, batch = build(recipe), one_batch(recipe, size=8)
    model.configure_optimizers = lambda: torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = fit(model, Repeated(batch, 200), limit_train_batches=200, limit_val_batches=0).losses
    start, end = losses[0], sum(losses[-10:]) / 10
    assert end < start / 3  # label smoothing of 0.1 leaves a fifth of it


def test_same_seed_gives_the_same_losses_to_the_bit(recipe):
    first, second = (
        fit(build(recipe, seed=7), data_of(recipe), limit_val_batches=0).losses for _ in range(2)
    )
    assert first == second
    assert 1 <= len(first) <= STEPS  # one, where an epoch is one full batch


def test_checkpoint_brings_back_the_same_outputs(recipe, tmp_path):
    model = build(recipe)
    keep = ModelCheckpoint(tmp_path, save_last=True)
    fit(model, data_of(recipe), limit_val_batches=0, callbacks=[keep])
    restored = type(model).load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    example = model.example_input_array
    x = torch.rand_like(example) if example.is_floating_point() else example  # tokens stay tokens
    torch.testing.assert_close(restored.eval()(x), model.eval()(x), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # both runs keep theirs in one folder
def test_resumed_run_equals_the_uninterrupted_one_to_the_bit(recipe, tmp_path):
    def run(ckpt_path: str | None = None) -> tuple[LightningModule, Recorder]:
        model = build(recipe)
        keep = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
        short = {"max_epochs": 2, "limit_val_batches": 1}
        return model, fit(model, data_of(recipe), ckpt_path, callbacks=[keep], **short)

    whole, losses = run()
    resumed, later = run(str(tmp_path / "epoch=0.ckpt"))
    assert losses.losses[len(losses.losses) // 2 :] == later.losses != []
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert whole.trainer.callback_metrics == resumed.trainer.callback_metrics


def test_pictures_can_be_drawn_after_a_fit(recipe, tmp_path):
    model = build(recipe)
    fit(model, data_of(recipe), limit_val_batches=1)
    for name, figure in model.figures().items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 1000

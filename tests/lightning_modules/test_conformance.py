"""What every family promises, checked over every recipe of the catalog, ours and any plugin's.

A recipe is made small first: batches of 16, and whatever its classes name in their attribute
`conformance_arguments` (argument -> value) where that does not suffice. Three short runs then serve
most proofs: one of two epochs, one from the same seed that stops after the first, and one that
goes on from there.

A module that cannot keep a promise says so as data, promise -> reason, in its class attribute
`conformance_exceptions`; the test is then skipped with that reason in sight. Recipes whose data or
packages are not on this machine are skipped too. A module that makes its own data has no data
module: it offers `train_dataloader` and `val_dataloader` itself, and its steps need not return a
loss, as the weights are watched as well.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from paceline.platform.catalog import entries
from paceline.platform.configuration import config
from paceline.platform.configuration.classes import load_class
from paceline.platform.training.building import Built
from paceline.platform.training.building import build as build_all
from paceline.platform.training.optimization import set_optimizer
from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils._pytree import tree_map

STEPS = 3  # batches per epoch
BATCH = 16  # examples a batch
VALIDATED = 64  # examples; families validate in batches of a thousand
WHOLE_SPLIT = 1025  # a batch of so many is the rule itself: all examples, or several steps' worth


class Recorder(pl.Callback):
    """Keeps what a fit went through: losses, weights, and which parameters had a gradient."""

    def __init__(self):
        self.losses: list[float] = []
        self.weights: list[float] = []  # their sum after each step
        self.moved: dict[str, bool] = {}  # whether a parameter's gradient was ever other than zero

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        for name, p in pl_module.named_parameters():
            if p.requires_grad:
                now = p.grad is not None and bool(p.grad.any())
                self.moved[name] = now or self.moved.get(name, False)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if outputs:
            self.losses.append(float(outputs["loss"]))
        state = pl_module.state_dict().values()
        self.weights.append(sum(float(w.sum()) for w in state if w.is_floating_point()))


class StopAfterAnEpoch(pl.Callback):
    """Ends a run early that was planned longer, so that its schedule is the longer one's."""

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


class StopOnceLearned(pl.Callback):
    """Ends a run when the mean loss of its last ten steps is below a third of the first.

    Label smoothing of 0.1 leaves a fifth of it.
    """

    def __init__(self):
        self.losses: list[float] = []
        self.learned = False

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))
        last = self.losses[-10:]
        self.learned = len(last) == 10 and sum(last) / 10 < self.losses[0] / 3
        trainer.should_stop = self.learned


@dataclass
class Repeated:
    """One batch again and again, as a loader."""

    batch: Any
    times: int

    def __len__(self) -> int:
        return self.times

    def __iter__(self) -> Iterator[Any]:
        return itertools.repeat(self.batch, self.times)


@dataclass
class Run:
    """A model that was trained, and what was seen of it."""

    model: LightningModule
    seen: Recorder

    @property
    def metrics(self) -> dict[str, torch.Tensor]:
        return dict(self.model.trainer.callback_metrics)


def first(batch: Any, size: int) -> Any:
    """A batch's first examples."""
    return tree_map(lambda part: part[:size], batch)


def cut_validation(data: LightningDataModule) -> None:
    """Leave one small batch to validate on, where there is any."""
    batch = next(iter(data.val_dataloader()), None)
    if batch is not None:
        data.val_dataloader = lambda: Repeated(first(batch, VALIDATED), 1)


def made_small(recipe: str) -> config.Config:
    """A recipe's config with the arguments that make its runs short."""
    loaded = config.load(recipe)
    changes = {}
    for section in ("data", "model"):
        if path := (loaded.values.get(section) or {}).get("class_path"):
            small = getattr(load_class(path, section), "conformance_arguments", {})
            changes |= {f"{section}.init_args.{name}": value for name, value in small.items()}
    if BATCH < (loaded.get("data.init_args.batch_size") or 0) < WHOLE_SPLIT:
        changes = {"data.init_args.batch_size": BATCH, **changes}
    return loaded.override(changes) if changes else loaded


def fit(model: LightningModule, data: Any, *callbacks: pl.Callback, **arguments) -> Run:
    """Train on the CPU without any output, on a data module, a loader, or the module's own data."""
    recorder, ckpt_path = Recorder(), arguments.pop("ckpt_path", None)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    checkpoint = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    short = {"max_epochs": 1, "limit_train_batches": STEPS, "num_sanity_val_steps": 0}
    settings = {"accelerator": "cpu", "enable_checkpointing": checkpoint, **short, **arguments}
    trainer = pl.Trainer(callbacks=[recorder, *callbacks], **quiet, **settings)
    if data is None or isinstance(data, LightningDataModule):
        trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    else:
        trainer.fit(model, data, data)  # without a loader for it, Lightning misses validation
    return Run(model, recorder)


class Case:
    """One recipe, its data and the runs that its tests share, each made when it is first asked."""

    def __init__(self, recipe: str, folder: Path, if_extras_allow: Any):
        self.config, self.folder = made_small(recipe), folder
        self.if_extras_allow = if_extras_allow

    def build(self) -> Built:
        """Model and data, from the same seed each time."""
        pl.seed_everything(1, verbose=False)
        with self.if_extras_allow():
            built = build_all(self.config)
        set_optimizer(built.model, built.optimizer, built.lr_scheduler)
        return built

    @functools.cached_property
    def first(self) -> Built:
        """What is built once: the data of all runs, and a model that none of them trains."""
        return self.build()

    @property
    def untrained(self) -> LightningModule:
        """The model that no run trains."""
        return self.first.model

    @functools.cached_property
    def data(self) -> LightningDataModule | None:
        """Read once; its order starts anew with each trainer."""
        data = self.first.data
        try:
            if data is not None:
                data.prepare_data()
                data.setup("fit")
        except FileNotFoundError as missing:
            pytest.skip(f"{missing}")
        if data is not None:
            cut_validation(data)
        return data

    @property
    def batch(self) -> Any:
        """The first training batch."""
        source = self.untrained if self.data is None else self.data
        return next(iter(source.train_dataloader()))

    def run(self, keep: ModelCheckpoint, *callbacks: pl.Callback, **arguments) -> Run:
        """Two epochs of three batches with one of validation, from the start or a checkpoint."""
        data, model = self.data, self.build().model
        short = {"max_epochs": 2, "limit_val_batches": 1}
        return fit(model, data, keep, *callbacks, **short, **arguments)

    def keep(self, folder: str) -> ModelCheckpoint:
        return ModelCheckpoint(self.folder / folder, filename="{epoch}", save_top_k=-1)

    @functools.cached_property
    def whole(self) -> Run:
        """Never interrupted."""
        return self.run(self.keep("whole"))

    @functools.cached_property
    def interrupted(self) -> Run:
        """The same until its first epoch ends."""
        return self.run(self.keep("interrupted"), StopAfterAnEpoch())

    @functools.cached_property
    def resumed(self) -> Run:
        """The interrupted run's second epoch."""
        assert self.interrupted.model.current_epoch == 1
        path = str(self.folder / "interrupted" / "epoch=0.ckpt")
        return self.run(self.keep("interrupted"), ckpt_path=path)


@pytest.fixture(scope="module", params=sorted(entries("recipes")))
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, if_extras_allow
) -> Case:
    """Each recipe of the catalog, all its tests in a row, so that one is held at a time."""
    return Case(request.param, tmp_path_factory.mktemp("case"), if_extras_allow)


@pytest.fixture
def case(shared: Case, request: pytest.FixtureRequest) -> Case:
    """The recipe, unless its module declares an exception from the running test."""
    test: str = request.function.__name__.removeprefix("test_")
    reason = getattr(shared.untrained, "conformance_exceptions", {}).get(test)
    if reason:
        pytest.skip(f"{type(shared.untrained).__name__} declares: {reason}")
    return shared


def test_output_has_one_row_per_input_and_the_shape_of_the_example(case):
    model, batch = case.untrained.eval(), case.batch
    example = model(model.example_input_array)
    inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
    if hasattr(model, "conformance_inputs"):  # what `forward` takes is not in the batch: noise
        inputs = model.conformance_inputs(batch)
    elif case.data is None:
        inputs = model.example_input_array
    outputs = model(inputs)
    assert outputs.shape == (len(inputs), *example.shape[1:])
    assert outputs.isfinite().all()


def test_loss_is_finite_and_validation_logs_the_metric_that_the_sweep_watches(case):
    seen = case.whole.seen
    assert torch.tensor([*seen.losses, *seen.weights]).isfinite().all()
    assert len(seen.weights) == len(seen.losses) or case.data is None
    assert case.config.sweep.metric in case.whole.metrics


def test_every_parameter_gets_a_gradient(case):
    moved = case.whole.seen.moved
    assert moved
    assert [name for name, ever in moved.items() if not ever] == []


def test_one_batch_can_be_learned_by_heart(case):
    batch = first(case.batch, 8)
    model, stop = case.build().model, StopOnceLearned()
    model.configure_optimizers = lambda: torch.optim.Adam(model.parameters(), lr=3e-3)
    fit(model, Repeated(batch, 200), stop, limit_train_batches=200, limit_val_batches=0)
    assert stop.learned, f"{stop.losses[0]} became {stop.losses[-10:]}"


def test_same_seed_gives_the_same_losses_to_the_bit(case):
    first, again = case.whole.seen, case.interrupted.seen
    assert 1 <= len(again.weights) <= STEPS  # one, where an epoch is one full batch
    assert first.losses[: len(again.losses)] == again.losses
    assert first.weights[: len(again.weights)] == again.weights


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # both runs keep theirs in one folder
def test_resumed_run_equals_the_uninterrupted_one_to_the_bit(case):
    whole, resumed = case.whole, case.resumed
    half = len(whole.seen.weights) // 2
    assert whole.seen.weights[half:] == resumed.seen.weights != []
    assert whole.seen.losses[len(whole.seen.losses) // 2 :] == resumed.seen.losses
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
    assert whole.metrics == resumed.metrics


def test_pictures_can_be_drawn_after_a_fit(case, tmp_path):
    for name, figure in case.whole.model.figures().items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_checkpoint_brings_back_the_same_outputs(case):
    model, path = case.whole.model, case.folder / "whole" / "epoch=1.ckpt"
    restored = type(model).load_from_checkpoint(path, weights_only=True)
    example = model.example_input_array
    x = torch.rand_like(example) if example.is_floating_point() else example  # tokens stay tokens
    torch.testing.assert_close(restored.eval()(x), model.eval()(x), rtol=0, atol=0)

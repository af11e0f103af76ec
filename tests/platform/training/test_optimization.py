from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paceline
import pytest
import torch
from paceline.platform.configuration.config import load
from paceline.platform.errors import UserError
from paceline.platform.signals import Interrupted
from paceline.platform.training.fitting import prepare
from paceline.platform.training.optimization import (
    check_manual,
    check_optimizer,
    check_schedule,
    make_optimizer,
    make_optimizers,
    set_optimizer,
)
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import Callback
from torch import nn

ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.1}}
STEP = {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 2}}


class Attached(torch.optim.SGD):
    """Wants the modules, and counts how often it gets them."""

    modules: list[nn.Module] = []  # noqa: RUF012 the test empties it

    def __init__(self, params: Any, lr: float = 0.1):
        super().__init__(params, lr)

    def attach(self, module: nn.Module) -> None:
        self.modules.append(module)


class Watch(Callback):
    """Keeps what Lightning was given.

    Args:
        ends: Whether the run ends with its first step: the rest would show no more of it.
    """

    def __init__(self, ends: bool):
        self.ends = ends

    def on_train_start(self, trainer, pl_module):
        self.optimizer = trainer.optimizers[0]
        self.schedule = trainer.lr_scheduler_configs[0] if trainer.lr_scheduler_configs else None

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.ends:
            raise Interrupted(15)


def watched(*, ends: bool = True, **keys: object) -> Watch:
    """Fits a tiny perceptron with some keys of the config and returns what Lightning was given."""
    from paceline.platform.configuration.config import load
    from paceline.platform.runs import fit_config

    plain = {"trainer.max_epochs": 1, "tracking.log_model": False, "model.hidden_sizes": [8]}
    changes = plain | {key.replace("__", "."): value for key, value in keys.items()}
    config = load("mlp", {key: (value, f"--{key}") for key, value in changes.items()})
    watch = Watch(ends)
    with pytest.raises(Interrupted) if ends else nullcontext():
        fit_config(config, callbacks=(watch,))
    return watch


def test_an_optimizer_is_fused_where_that_was_left_open():
    model = nn.Linear(2, 2)
    assert make_optimizer(model, ADAM).defaults["fused"] is True
    for choice in ({"foreach": True}, {"foreach": False}, {"fused": False}):
        chosen = {**ADAM, "init_args": {"lr": 0.1, **choice}}
        assert not make_optimizer(model, chosen).defaults["fused"]
    assert "fused" not in make_optimizer(model, {"class_path": "torch.optim.LBFGS"}).defaults


def test_parameters_that_do_not_train_are_left_out():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    assert len(make_optimizer(model, ADAM).param_groups[0]["params"]) == 1


@pytest.mark.usefixtures("paceline_home")
def test_gradients_are_clipped_under_mixed_precision_too():
    """A fused step scales the gradients itself, and Lightning refuses to clip before it."""
    clipped = watched(trainer__precision="bf16-mixed", trainer__gradient_clip_val=1.0)
    assert not clipped.optimizer.defaults["fused"]
    assert watched(trainer__precision="bf16-mixed").optimizer.defaults["fused"]
    assert watched(trainer__gradient_clip_val=1.0).optimizer.defaults["fused"]


def test_an_optimizer_gets_the_modules_once_a_fit(paceline_home: Path):
    Attached.modules.clear()
    name = f"{__name__}.Attached"
    keys = {"trainer.max_epochs": 1, "tracking.log_model": False}
    result = paceline.fit("mlp", optimizer=name, config=keys)
    assert result.status == "finished"
    assert [type(module).__name__ for module in Attached.modules] == ["MLP"]


def test_a_schedule_learns_how_long_the_run_is(paceline_home: Path):
    watch = watched(data__batch_size=100)  # 1,258 examples: 13 steps an epoch
    assert watch.schedule.scheduler.total_steps == 13
    assert watch.schedule.interval == "step"
    told = watched(data__batch_size=100, lr_scheduler__total_steps=99)
    assert told.schedule.scheduler.total_steps == 99


def test_a_schedule_of_torch_counts_epochs_unless_it_was_told_the_steps(paceline_home: Path):
    torchs = "torch.optim.lr_scheduler"
    step = watched(lr_scheduler__class_path=f"{torchs}.StepLR", lr_scheduler__step_size=1)
    assert step.schedule.interval == "epoch"
    cycle = watched(lr_scheduler__class_path=f"{torchs}.OneCycleLR", lr_scheduler__max_lr=0.1)
    assert cycle.schedule.interval == "step"


def test_a_plateau_is_watched_by_the_metric_it_names(paceline_home: Path):
    keys = {"lr_scheduler__class_path": "ReduceLROnPlateau"}
    keys |= {"lr_scheduler__monitor": "val/accuracy", "lr_scheduler__mode": "max"}
    watch = watched(ends=False, **keys)
    assert watch.schedule.monitor == "val/accuracy"
    assert watch.schedule.scheduler.mode == "max"


def test_a_bad_value_is_found_before_anything_starts():
    model = nn.Linear(2, 2)
    with pytest.raises(
        UserError, match=r"`optimizer` must be a valid Adam, but is not: .*rate: -1"
    ):
        check_optimizer(model, {**ADAM, "init_args": {"lr": -1.0}})
    optimizer = check_optimizer(model, ADAM)
    check_schedule(optimizer, STEP, str)
    check_schedule(None, STEP, str)
    check_schedule(optimizer, None, str)
    wrong = {"class_path": "torch.optim.lr_scheduler.LambdaLR", "init_args": {"lr_lambda": 3}}
    with pytest.raises(UserError, match="`lr_scheduler` must be a valid LambdaLR, but is not"):
        check_schedule(optimizer, wrong, str)


def test_checking_attaches_nothing():
    Attached.modules.clear()
    check_optimizer(nn.Linear(2, 2), {"class_path": f"{__name__}.Attached", "init_args": {}})
    assert Attached.modules == []


class Own(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def configure_optimizers(self):
        return "own"


class Open(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)


class Players(LightningModule):
    def __init__(self, **factors: float):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 3)
        self.automatic_optimization = False
        self.lr_factors = factors

    def parameter_groups(self):
        groups = {"first": self.first.parameters(), "second": self.second.parameters()}
        return {name: list(parameters) for name, parameters in groups.items()}


def test_each_group_of_parameters_gets_an_optimizer_with_its_own_rate():
    made = make_optimizers(Players(second=4.0), ADAM)
    assert list(made) == ["first", "second"]
    assert [len(o.param_groups[0]["params"][0]) for o in made.values()] == [2, 3]
    assert [o.param_groups[0]["lr"] for o in made.values()] == pytest.approx([0.1, 0.4])


def test_groups_are_looked_for_only_where_the_module_optimizes_by_itself():
    players = Players()
    players.automatic_optimization = True
    assert len(check_optimizer(players, ADAM).param_groups[0]["params"]) == 4


def test_groups_that_leave_a_parameter_out_and_optimizers_of_modules_are_refused():
    players = Players()
    players.parameter_groups = lambda: {"first": players.first.parameters()}
    with pytest.raises(UserError, match="must hold each parameter that trains once"):
        check_optimizer(players, ADAM)
    attached = {"class_path": f"{__name__}.Attached", "init_args": {}}
    with pytest.raises(UserError, match="must be one that looks at parameters alone"):
        check_optimizer(Players(), attached)


def test_a_modules_own_optimizer_is_used_where_the_config_has_none():
    module = Own()
    set_optimizer(module, None, None)
    assert module.configure_optimizers() == "own"


def test_training_without_any_optimizer_is_refused():
    with pytest.raises(UserError, match="`optimizer` must be given"):
        set_optimizer(Open(), None, None)
    with pytest.raises(UserError, match="`optimizer` must be given when `lr_scheduler` is"):
        set_optimizer(Own(), None, STEP)


def test_a_module_that_has_nothing_to_train_needs_none():
    class Counts(LightningModule):
        pass

    set_optimizer(Counts(), None, None)


@pytest.mark.parametrize(
    ("key", "number"), [("trainer.gradient_clip_val", 1.0), ("trainer.accumulate_grad_batches", 2)]
)
def test_what_lightning_does_only_where_it_optimizes_is_refused_elsewhere(key, number):
    config = load("gan-digits", {key: (number, f"--{key}")})
    with pytest.raises(UserError) as refused:
        prepare(config)
    assert refused.value.where == f"--{key}"
    assert f"`{key}` must be" in refused.value.what
    assert f"but is {number}" in refused.value.what
    has_own = key.endswith("clip_val")
    assert ("--model.gradient_clip_val" in refused.value.remedy) == has_own


def test_a_module_that_lightning_optimizes_may_be_clipped():
    model, trainer = LightningModule(), SimpleNamespace(gradient_clip_val=1.0)
    check_manual(model, trainer, str)
    model.automatic_optimization = False
    with pytest.raises(UserError, match="left out where a module optimizes by itself"):
        check_manual(model, trainer, str)
    check_manual(model, SimpleNamespace(gradient_clip_val=0, accumulate_grad_batches=1), str)

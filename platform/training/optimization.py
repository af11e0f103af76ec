"""The optimizer and the schedule of a config, handed to Lightning.

An optimizer that needs the modules and not only their parameters (K-FAC) has `attach(module)`,
called here. A schedule that counts in optimizer steps says so with `interval = "step"`, and one
whose `total_steps` is left open learns it from the trainer.

A module that optimizes by itself and wants several optimizers has `parameter_groups()`, name ->
parameters: each group gets an optimizer of the config's class and a schedule, in that order.
`lr_factors`, name -> factor, is by how much the learning rate of a group differs.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

from pytorch_lightning import LightningModule
from pytorch_lightning.cli import instantiate_class
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from ..configuration.classes import argument_names, load_class
from ..errors import UserError, must

Spec = dict[str, Any]
Where = Callable[[str], str]


def set_optimizer(model: LightningModule, optimizer: Spec | None, schedule: Spec | None) -> None:
    """Make the config's optimizer the model's, in place of its own `configure_optimizers`.

    Args:
        model: The module; untouched when the config has no optimizer and the module has its own.
        optimizer: `{class_path, init_args}` of a resolved config.
        schedule: Likewise, of a learning-rate schedule.

    Raises:
        UserError: Neither the config nor the module has an optimizer, or a schedule stands alone.
    """
    own = is_overridden("configure_optimizers", model, LightningModule)
    if optimizer is None:
        if schedule is not None:
            raise UserError(
                "`optimizer` must be given when `lr_scheduler` is, but is missing.", "lr_scheduler"
            )
        if not own and model.automatic_optimization and any(True for _ in model.parameters()):
            raise UserError(
                "`optimizer` must be given, but is missing.",
                f"{type(model).__name__} has none of its own",
                "--optimizer Adam --optimizer.lr 1e-3",
            )
        return
    configure = functools.partial(_configure, model, optimizer, schedule)
    model.configure_optimizers = configure  # type: ignore[method-assign]


def check_optimizer(model: nn.Module, optimizer: Spec | None, where: str = "") -> Optimizer | None:
    """Build the optimizer once to be dropped, so that a bad value is found before anything starts.

    Returns:
        The optimizer, not attached; None when the config has none.

    Raises:
        UserError: The optimizer's constructor refuses a value.
    """
    if optimizer is None:
        return None
    name = optimizer["class_path"].rpartition(".")[2]
    try:
        if not has_groups(model):
            return make_optimizer(model, optimizer, attach=False)
        first, *_ = make_optimizers(model, optimizer).values()
        return first
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"`optimizer` must be a valid {name}, but is not: {error}.", where
        ) from error


def check_schedule(optimizer: Optimizer | None, schedule: Spec | None, where: Where) -> None:
    """Build the schedule once over an optimizer that is dropped, for the same reason.

    Raises:
        UserError: The schedule's constructor refuses a value.
    """
    if optimizer is None or schedule is None:
        return
    try:
        # The trainer alone knows the run's length, later; no point of a schedule lies behind this.
        make_schedule(optimizer, schedule, lambda: 10**9)
    except Exception as error:  # whatever a constructor raises
        name = schedule["class_path"].rpartition(".")[2]
        argument = str(error).partition("`")[2].partition("`")[0]
        place = where(f"lr_scheduler.{argument}" if argument else "lr_scheduler")
        if isinstance(error, ValueError) and argument:
            raise UserError(str(error), place) from error
        what = (
            f"`lr_scheduler` must be a valid {name}, but is not: {type(error).__name__}: {error}."
        )
        raise UserError(what, place) from error


def check_manual(model: LightningModule, trainer: Any, where: Where) -> None:
    """Refuse what Lightning's trainer does for a module only where it optimizes for it.

    Args:
        model: The module.
        trainer: Lightning's trainer as the config wants it.
        where: Where a key of the config stands.

    Raises:
        UserError: Gradients are to be clipped or summed for a module that optimizes by itself.
    """
    if model.automatic_optimization:
        return
    kind = type(model).__name__
    by_itself = f"where a module optimizes by itself, as {kind} does"
    if trainer.gradient_clip_val:
        own = "gradient_clip_val" in argument_names(type(model))
        remedy = "--model.gradient_clip_val clips in its own step" if own else ""
        what = must("trainer.gradient_clip_val", f"left out {by_itself}", trainer.gradient_clip_val)
        raise UserError(what, where("trainer.gradient_clip_val"), remedy)
    if (batches := trainer.accumulate_grad_batches) != 1:
        what = must("trainer.accumulate_grad_batches", f"1 {by_itself}", batches)
        raise UserError(what, where("trainer.accumulate_grad_batches"))


def has_groups(model: nn.Module) -> bool:
    """Whether a module wants an optimizer for each of its groups of parameters."""
    by_itself = not getattr(model, "automatic_optimization", True)
    return by_itself and hasattr(model, "parameter_groups")


def make_optimizers(model: Any, spec: Spec, *, may_fuse: bool = True) -> dict[str, Optimizer]:
    """An optimizer for each of the module's parameter groups, in their order.

    Raises:
        UserError: The optimizer needs the modules; which of them are a group's is not known.
        ValueError: The groups are not together what trains.
    """
    groups = {name: list(parameters) for name, parameters in model.parameter_groups().items()}
    grouped = [id(p) for parameters in groups.values() for p in parameters if p.requires_grad]
    if sorted(grouped) != sorted(id(p) for p in model.parameters() if p.requires_grad):
        raise ValueError("`parameter_groups` must hold each parameter that trains once, but do not")
    factors = getattr(model, "lr_factors", {})
    optimizers = {}
    for name, parameters in groups.items():
        optimizer = make_optimizer(
            model, spec, parameters=parameters, attach=False, may_fuse=may_fuse
        )
        if hasattr(optimizer, "attach"):
            rule = "one that looks at parameters alone where a module has several groups of them"
            raise UserError(must("optimizer", rule, type(optimizer).__name__), "optimizer")
        for group in optimizer.param_groups if name in factors else []:
            group["lr"] *= factors[name]
        optimizers[name] = optimizer
    return optimizers


def make_optimizer(
    model: nn.Module,
    spec: Spec,
    *,
    parameters: Iterable[nn.Parameter] | None = None,
    attach: bool = True,
    may_fuse: bool = True,
) -> Optimizer:
    """The optimizer over the parameters that train; fused where torch can, if left open.

    A fused step is one kernel instead of a handful for each parameter: 2 to 4 times faster on small
    networks, equal to the loop up to rounding.
    """
    chosen = model.parameters() if parameters is None else parameters
    parameters = [p for p in chosen if p.requires_grad]
    arguments = dict(spec.get("init_args") or {})
    kind = load_class(spec["class_path"], "optimizer.class_path")
    open_choice = arguments.get("fused") is None and arguments.get("foreach") is None
    can_fuse = {"fused", "foreach"} <= argument_names(kind) and not arguments.get("differentiable")
    on_device = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    if may_fuse and open_choice and can_fuse and on_device:
        arguments["fused"] = True
    optimizer = instantiate_class(parameters, {**spec, "init_args": arguments})
    if attach and hasattr(optimizer, "attach"):
        optimizer.attach(model)
    return optimizer


def _configure(model: LightningModule, optimizer: Spec, schedule: Spec | None) -> Any:
    # With mixed precision a fused step scales the gradients itself, after any clipping.
    mixed = isinstance(model.trainer.precision_plugin, MixedPrecision)
    clips = model.trainer.gradient_clip_val or getattr(model, "gradient_clip_val", None)
    may_fuse = not (mixed and clips)
    if has_groups(model):
        several = make_optimizers(model, optimizer, may_fuse=may_fuse).values()
        return [_with_schedule(model, made, schedule) for made in several]
    made = make_optimizer(model, optimizer, may_fuse=may_fuse)
    return made if schedule is None else _with_schedule(model, made, schedule)


def _with_schedule(model: LightningModule, made: Optimizer, schedule: Spec | None) -> Any:
    if schedule is None:
        return {"optimizer": made}
    asked = []

    def total_steps() -> float:
        # A module whose steps are no batches knows how often it moves its schedules.
        own = getattr(model, "num_schedule_steps", None)
        steps = own() if own else model.trainer.estimated_stepping_batches
        asked.append(True)
        if model.trainer.ckpt_path:
            # Lightning made the loader to count its batches, before it read where the checkpoint
            # stands in them, and tells only a loader that it makes: it must make one again.
            model.trainer.fit_loop._combined_loader = None
        return max(1, int(steps)) if math.isfinite(steps) else steps

    scheduler = make_schedule(made, schedule, total_steps)
    if isinstance(scheduler, ReduceLROnPlateau):
        if not model.automatic_optimization:
            raise UserError(
                "`lr_scheduler` must count steps or epochs where the module optimizes by itself, "
                "but is ReduceLROnPlateau.",
                "lr_scheduler",
            )
        monitor = (schedule.get("init_args") or {}).get("monitor", "val/loss")
        return {"optimizer": made, "lr_scheduler": {"scheduler": scheduler, "monitor": monitor}}
    # A schedule that was told how many optimizer steps there are counts them.
    interval = getattr(scheduler, "interval", "step" if asked else "epoch")
    return {"optimizer": made, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}


def make_schedule(
    optimizer: Optimizer, spec: Spec, total_steps: Callable[[], float]
) -> LRScheduler:
    """The schedule over an optimizer.

    Args:
        optimizer: Whose rates it sets.
        spec: `{class_path, init_args}` of a resolved config.
        total_steps: Asked for the length of the run where the schedule wants it and was not told.
    """
    kind = load_class(spec["class_path"], "lr_scheduler.class_path")
    arguments = dict(spec.get("init_args") or {})
    if issubclass(kind, ReduceLROnPlateau):
        arguments.pop("monitor", None)  # Lightning's own subclass takes it, for us to pass on
        return ReduceLROnPlateau(optimizer, **arguments)
    if "total_steps" in inspect.signature(kind).parameters and arguments.get("total_steps") is None:
        arguments["total_steps"] = total_steps()
    return kind(optimizer, **arguments)

"""The checkpoint that a copy goes on from: its donor's, with the hyperparameters of its own config.

Lightning restores a run as it was: the learning rate and all other settings of the optimizer stand
in the checkpoint, those of its schedule too, and so a changed config would be undone without a
word. So the checkpoint is changed before it is loaded. Optimizer and schedule are built from both
configs; wherever the two differ, the new value is put into the state, and nothing else is touched:
moments, counters and the schedule's position stay the donor's. A rate in the middle of a schedule
is scaled, so that it stands where the new schedule would have it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.core.optimizer import _configure_optimizers
from torch.optim import Optimizer

from ...platform.training.building import Built
from ...platform.training.optimization import (
    has_groups,
    make_optimizer,
    make_optimizers,
    make_schedule,
)

State = dict[str, Any]
UNKNOWN_LENGTH = 10**9  # optimizer steps; no point of a schedule lies behind it


@dataclass(frozen=True)
class Fresh:
    """What a config makes of the settings that a checkpoint holds, before any step.

    Args:
        optimizers: State of each optimizer.
        schedules: State of each schedule.
        buffers: The model's tensors that are no parameters.
        hyper_parameters: The model's arguments, as a checkpoint keeps them.
    """

    optimizers: Sequence[State]
    schedules: Sequence[State]
    buffers: Mapping[str, torch.Tensor]
    hyper_parameters: Mapping[str, Any]


def fresh(built: Built, total_steps: float = UNKNOWN_LENGTH) -> Fresh:
    """The settings that a config begins with.

    Args:
        built: What the config builds.
        total_steps: Optimizer steps of the whole run, for schedules that ask.

    Raises:
        Exception: Whatever the module's own `configure_optimizers` raises without a trainer.
    """
    optimizers, schedules = _optimization(built, total_steps)
    parameters = {name for name, _ in built.model.named_parameters()}
    state = built.model.state_dict()
    return Fresh(
        [optimizer.state_dict() for optimizer in optimizers],
        [schedule.state_dict() for schedule in schedules],
        {n: t for n, t in state.items() if n not in parameters and isinstance(t, torch.Tensor)},
        dict(built.model.hparams),
    )


def _optimization(built: Built, total_steps: float) -> tuple[list[Optimizer], list[Any]]:
    """The optimizers and schedules of a config, or of the module where it has its own."""
    model, spec, schedule = built.model, built.optimizer, built.lr_scheduler
    if spec is None:
        optimizers, configs = _own(model)
        return optimizers, configs
    if has_groups(model):
        optimizers = [*make_optimizers(model, spec).values()]
    else:
        optimizers = [make_optimizer(model, spec, attach=False)]
    if schedule is None:
        return optimizers, []
    return optimizers, [make_schedule(o, schedule, lambda: total_steps) for o in optimizers]


def _own(model: LightningModule) -> tuple[list[Any], list[Any]]:
    found: Any = model.configure_optimizers()
    if found is None:
        return [], []
    optimizers, schedules, _ = _configure_optimizers(found)
    return optimizers, [s["scheduler"] if isinstance(s, dict) else s for s in schedules]


def length_of(content: Mapping[str, Any]) -> float:
    """How many optimizer steps a checkpoint's schedules were told the run has, if any says."""
    told = [s["total_steps"] for s in content["lr_schedulers"] if s.get("total_steps")]
    return told[0] if told else UNKNOWN_LENGTH


def transplanted(content: Mapping[str, Any], donor: Fresh, own: Fresh) -> State:
    """A donor's checkpoint with the settings of another config. Pure.

    Args:
        content: The donor's checkpoint.
        donor: What the donor's config begins with.
        own: What the copy's config begins with.

    Returns:
        A new checkpoint; tensors that stay are shared.

    Raises:
        ValueError: The two configs have another number of optimizers, groups or schedules.
    """
    triples = zip(content["optimizer_states"], donor.optimizers, own.optimizers, strict=True)
    optimizers = [_optimizer(*triple) for triple in triples]
    rates = [_rates(state) for state in optimizers]
    triples = zip(content["lr_schedulers"], donor.schedules, own.schedules, strict=True)
    schedules = [
        _schedule(*triple, rates[i] if i < len(rates) else []) for i, triple in enumerate(triples)
    ]
    weights = {**content["state_dict"]}
    for name, tensor in own.buffers.items():
        if name in weights and not _same(tensor, donor.buffers.get(name)):
            weights[name] = tensor
    made = {**content, "state_dict": weights}
    made |= {"optimizer_states": optimizers, "lr_schedulers": schedules}
    if "hyper_parameters" in content:
        known = content["hyper_parameters"]
        made["hyper_parameters"] = {n: own.hyper_parameters.get(n, v) for n, v in known.items()}
    return made


def _optimizer(state: State, donor: State, own: State) -> State:
    """An optimizer's state with what differs between two fresh ones."""
    made = _replaced(state, donor, own, skip=("state", "param_groups"))
    triples = zip(state["param_groups"], donor["param_groups"], own["param_groups"], strict=True)
    made["param_groups"] = [_group(*triple) for triple in triples]
    return made


def _group(group: State, donor: State, own: State) -> State:
    made = _replaced(group, donor, own, skip=("params", "lr"))
    base, new = donor.get("initial_lr", donor["lr"]), own.get("initial_lr", own["lr"])
    if not _same(base, new):
        # Without a schedule the rate is the base; where the base is nothing there is no scale.
        made["lr"] = group["lr"] * (new / base) if base else new
    return made


def _schedule(state: State, donor: State, own: State, rates: list[Any]) -> State:
    made = _replaced(
        state, donor, own, skip=("_last_lr", "last_epoch", "_step_count", "_schedulers")
    )
    if "_schedulers" in state:  # one schedule made of several
        parts = zip(state["_schedulers"], donor["_schedulers"], own["_schedulers"], strict=True)
        made["_schedulers"] = [_schedule(*part, rates) for part in parts]
    if "_last_lr" in made and len(made["_last_lr"]) == len(rates):
        made["_last_lr"] = rates
    return made


def _rates(optimizer: State) -> list[Any]:
    return [group["lr"] for group in optimizer["param_groups"]]


def _replaced(state: State, donor: State, own: State, skip: Sequence[str]) -> State:
    """A state in which each entry that the fresh ones have otherwise is the new one."""
    differs = {
        name: copy.deepcopy(value)
        for name, value in own.items()
        if name not in skip and name in state and not _same(value, donor.get(name))
    }
    return {**state, **differs}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        both = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
        return both and a.shape == b.shape and torch.equal(a, b)
    return type(a) is type(b) and a == b

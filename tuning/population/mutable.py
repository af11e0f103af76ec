"""Which knobs can change in the middle of a run, found out before anything starts.

What the optimizer, its schedule and the trainer's clipping are told is read anew when a trial goes
on. An argument of the model can change when the network's weights keep their names and shapes, and
does something when it is more than their first values (an initialisation acts once). The network
is built with each of the knob's ends to see that, so no list of names is kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytorch_lightning import LightningModule
from torch import nn

from ...platform.configuration.keys import CLASS_SECTIONS, short_key
from ...platform.errors import UserError, must
from ..search.knobs import Knob
from ..search.probe import with_needs
from ..search.space import Space

Build = Callable[[Mapping[str, Any]], LightningModule]
_OF_TRAINER = ("gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches")


def mutable_knobs(space: Space, asked: Sequence[str], build: Build) -> tuple[str, ...]:
    """The knobs that change on the way; the others a copy takes over from its donor.

    Args:
        space: The sweep's space.
        asked: Names that the config gives; empty: all that can.
        build: Makes the model of the config with some keys changed, always from the same seed.

    Raises:
        UserError: A knob that was asked for cannot change, or none can.
    """
    known = {knob.name for knob in space.knobs}
    for name in asked:
        if name not in known:
            raise UserError(
                must("sweep.population.mutate", f"knobs that vary ({', '.join(known)})", name),
                "sweep.population.mutate",
            )
    held = {knob.name: _why_held(knob, space, knob.name in asked, build) for knob in space.knobs}
    for name in asked:
        if reason := held[name]:
            rule = "knobs that can change in the middle of a run"
            what = f"{must('sweep.population.mutate', rule, name)[:-1]}: {reason}."
            raise UserError(what, "sweep.population.mutate", f"leave out {name}, or --vary others")
    found = tuple(name for name in (asked or held) if not held[name])
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in held.items())
        raise UserError(
            "`sweep.scheduler` pbt must have a knob that can change in the middle of a run, "
            f"but none does ({reasons}).",
            "sweep.space",
            "--vary learning_rate, or --scheduler asha",
        )
    return found


def _why_held(knob: Knob, space: Space, is_asked: bool, build: Build) -> str:
    """Why a knob stays what its run began with; empty when it can change."""
    for key in knob.targets:
        section, _, rest = key.partition(".")
        argument = rest.removeprefix("init_args.")
        if section == "seed_everything" or (section in CLASS_SECTIONS and argument == "class_path"):
            return f"{short_key(key)} makes the run what it is"
        if section == "trainer" and argument not in _OF_TRAINER:
            return f"{short_key(key)} holds for the whole run"
        if section == "data" and argument != "augmentation" and not is_asked:
            return f"{short_key(key)} is the data's; sweep.population.mutate may name it"
    if any(key.startswith("model.") for key in knob.targets):
        return _why_network_holds(knob, space, is_asked, build)
    return ""


def _why_network_holds(knob: Knob, space: Space, is_asked: bool, build: Build) -> str:
    first, *rest = [_weights(build(with_needs(space, knob, end))) for end in knob.draws.ends()]
    for other in rest:
        if {n: shape for n, (shape, _) in first.items()} != {n: s for n, (s, _) in other.items()}:
            return "the weights of one network do not fit the other's"
    if not is_asked and any(first[name] != other[name] for other in rest for name in first):
        return "it changes the weights that a network begins with"
    return ""


def _weights(model: nn.Module) -> dict[str, tuple[tuple[int, ...], float]]:
    """Each parameter's shape, and a number that tells its first values apart."""
    lazy = nn.parameter.is_lazy
    return {
        name: ((), 0.0) if lazy(p) else (tuple(p.shape), float(p.detach().double().abs().sum()))
        for name, p in model.named_parameters()
    }

"""A sweep checked whole before anything starts: its options, its space, every value in it."""

from __future__ import annotations

from dataclasses import dataclass

from ..platform import training
from ..platform.config import Config
from ..platform.errors import UserError, must
from .probe import check
from .search import Proposer, make_proposer
from .space import Space, read_space


@dataclass(frozen=True)
class Plan:
    """A sweep that was checked whole: what it searches, how, and within which limits."""

    config: Config
    space: Space
    proposer: Proposer
    seed: int


def plan_sweep(config: Config) -> Plan:
    """Check all of a sweep that can be checked without starting anything.

    Raises:
        UserError: The space, a knob, or an option is wrong.
    """
    sweep = config.sweep
    if config.launch.num_workers != 1:
        raise UserError(
            must("launch.num_workers", "1 for the trials of a sweep", config.launch.num_workers),
            config.where("launch.num_workers"),
            "leave --workers out; trials run side by side",
        )
    space = read_space(sweep.space, config.resolved).select(sweep.vary)
    if not space.knobs:
        raise UserError(
            "`sweep.space` must name at least one knob, but is empty.",
            config.where("sweep.space"),
            "declare one in the recipe: optimizer.lr: {loguniform: [1.0e-4, 1.0e-1]}",
        )
    seed = 0 if config.seed is None else config.seed
    return Plan(config, space, make_proposer(sweep.search, space, seed, sweep.trials), seed)


def check_values(plan: Plan) -> None:
    """Parse a config for every option and bound of the space, and build it.

    Raises:
        UserError: At the knob whose value is refused.
    """
    check(plan.space, lambda changes: training.prepare(plan.config.override(changes)))

"""A sweep checked whole before anything starts: its options, its space, every value in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..platform.configuration.config import Config
from ..platform.errors import UserError, must
from ..platform.home import read_state, run_folder
from ..platform.training import fitting as training
from ..platform.training.building import Built
from .journal import read_rows
from .population.make import make_population
from .search.points import points_of, read_points
from .search.probe import check
from .search.proposers import Proposer, make_proposer
from .search.space import Space, read_space
from .stopping.rules import Rule, make_rule

NUM_LIKE = 3  # so many configurations of an earlier sweep are tried first


@dataclass(frozen=True)
class Plan:
    """A sweep that was checked whole.

    Args:
        config: Its config.
        space: What it varies.
        proposer: What its trials are.
        points: Knob values that are tried first.
        seed: Its seed.
        rule: Who is stopped early; None: nobody.
        time_axis: What the rungs count: `epoch`, `step` or a metric's name.
        horizon: End of the time axis; None: unknown.
    """

    config: Config
    space: Space
    proposer: Proposer
    points: list[dict[str, Any]]
    seed: int
    rule: Rule | None
    time_axis: str
    horizon: float | None


def plan_sweep(config: Config, points: list[dict[str, Any]] | None = None) -> Plan:
    """Check all of a sweep that can be checked without starting anything.

    Args:
        config: A recipe's config.
        points: Knob values to try first, when an earlier driver has settled them.

    Raises:
        UserError: The space, a knob, a value of one, or an option is wrong.
    """
    sweep = config.sweep
    _check_objectives(config)
    space = read_space(sweep.space, config.resolved).select(sweep.vary)
    if not space.knobs:
        raise UserError(
            "`sweep.space` must name at least one knob, but is empty.",
            config.where("sweep.space"),
            "declare one in the recipe: optimizer.lr: {loguniform: [1.0e-4, 1.0e-1]}",
        )
    seed = 0 if config.seed is None else config.seed
    if points is None:
        points = [*read_points(sweep.points, space), *_points_like(config, space)]
    proposer = make_proposer(sweep, space, seed, sweep.trials, points=points)
    time_axis, horizon = time_axis_of(config, prepared(config))
    if sweep.scheduler == "pbt":
        rule: Rule | None = make_population(config, space, seed, horizon)
    else:
        rule = make_rule(sweep, horizon)
    return Plan(config, space, proposer, points, seed, rule, time_axis, horizon)


def check_values(plan: Plan) -> None:
    """Parse a config for every option and bound of the space, and build it.

    Raises:
        UserError: At the knob whose value is refused.
    """
    check(plan.space, lambda changes: prepared(plan.config.override(changes)))


def prepared(config: Config) -> Built:
    """Check all of a config that can be checked here, wherever its trials will train.

    Raises:
        UserError: Something is wrong with it.
    """
    if not config.launch.has_many_workers:
        return training.prepare(config)
    from ..platform.launch.wide import check as check_wide  # Ray Train takes its time to import

    return check_wide(config, None)


def time_axis_of(config: Config, built: Built) -> tuple[str, float | None]:
    """What the rungs of a sweep count, and where that ends.

    Args:
        config: The sweep's config.
        built: What it builds; a module may name its own axis in `time_axis`, a metric that it logs
            and that only grows, such as environment steps.

    Returns:
        `epoch`, `step` or the metric's name; the end, None when there is none.

    Raises:
        UserError: Nobody says where an axis other than epochs ends, but a rule needs to know.
    """
    sweep = config.sweep
    axis = sweep.time_axis or getattr(built.model, "time_axis", None) or "epoch"
    limits = {"epoch": "trainer.max_epochs", "step": "trainer.max_steps"}
    if sweep.horizon is not None:
        return axis, sweep.horizon
    limit = config.get(limits[axis]) if axis in limits else None
    if limit is not None and limit > 0:
        return axis, float(limit)
    if axis != "epoch" and sweep.scheduler != "none":
        key = limits.get(axis, "sweep.horizon")
        raise UserError(
            f"`{key}` must say where the time axis `{axis}` ends, but is missing.",
            config.where("sweep.time_axis"),
            f"--{key} 50000, or --scheduler none",
        )
    return axis, None


def _check_objectives(config: Config) -> None:
    """Several objectives have no one order in which halving could rank half-trained trials."""
    sweep = config.sweep
    if sweep.metric in sweep.objectives:
        rule = f"of other metrics than the deciding one (`{sweep.metric}`)"
        where = config.where("sweep.objectives")
        raise UserError(must("sweep.objectives", rule, dict(sweep.objectives)), where)
    if sweep.objectives and sweep.scheduler != "none":
        raise UserError(
            must("sweep.scheduler", "none when there are several objectives", sweep.scheduler),
            config.where("sweep.objectives"),
            "--scheduler none: a trial that is worse in one objective may be better in another",
        )


def _points_like(config: Config, space: Space) -> list[dict[str, Any]]:
    """The best configurations of the sweep that `sweep.like` names."""
    name, storage = config.sweep.like, config.launch.storage
    if name is None:
        return []
    state = read_state(name, storage)
    if state.get("kind") != "sweep":
        rule = "the name of a sweep"
        raise UserError(must("--like", rule, f"{name}, a single run"), config.where("sweep.like"))
    rows = read_rows(run_folder(name, storage), state["metric"], state["mode"])
    found = points_of(rows, space, NUM_LIKE)
    if not found:
        raise UserError(
            must("--like", "a sweep with a score and knobs of this space", name),
            config.where("sweep.like"),
            f"paceline show {name}",
        )
    return found

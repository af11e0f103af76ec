"""The rule of a population from its config, checked before anything starts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import LightningModule

from ...platform.configuration.config import Config
from ...platform.errors import UserError, must
from ...platform.training.fitting import prepare
from ..search.space import Space
from .explore import Exploration
from .mutable import mutable_knobs
from .rule import PopulationRule, bare_rule, interval_of
from .transplant import fresh

MIN_SIZE = 2
_SIZE = f"at least {MIN_SIZE} under pbt, as many as the population has members"
_SEARCHES = ("random", "grid")
_SEARCH = "random or grid under pbt, where all members begin before any has a result"
_SEEDS = "0 under pbt, which finds a schedule and no configuration to train again"
_SAVES = "on under pbt: members copy each other's checkpoints"


def make_population(
    config: Config, space: Space, seed: int, horizon: float | None
) -> PopulationRule:
    """The rule of the population that a config asks for.

    Args:
        config: The sweep's config, with `scheduler: pbt`.
        space: What varies.
        seed: The sweep's seed.
        horizon: End of the time axis; None: unknown.

    Raises:
        UserError: It cannot evolve, with what is in the way.
    """
    sweep = config.sweep
    _check(config, horizon)
    asked = sweep.population.mutate

    def build(changes: Mapping[str, Any]) -> LightningModule:
        return prepare(config.override({**changes, "seed_everything": seed})).model

    mutable = mutable_knobs(space, asked, build)
    _check_optimizer(config)
    factors = (sweep.population.resample, tuple(sweep.population.factors))
    rule = bare_rule(sweep, horizon, size=sweep.trials)
    exploration = Exploration(space, frozenset(mutable), *factors)
    return PopulationRule(
        rule.size, rule.interval, rule.horizon, rule.mode, rule.quantile, seed, exploration
    )


def _check(config: Config, horizon: float | None) -> None:
    """Refuse options that a population has no use for."""
    sweep = config.sweep
    if horizon is None:
        rule, remedy = "where the time axis ends, under pbt", "--trainer.max_epochs 20"
        raise UserError(must("sweep.horizon", rule, None), config.where("sweep.horizon"), remedy)
    interval = interval_of(sweep, horizon)
    saves = config.get("trainer.enable_checkpointing") is not False
    saves = saves and not config.get("trainer.barebones")
    for is_right, (key, value), rule, remedy in (
        (sweep.trials >= MIN_SIZE, ("sweep.trials", sweep.trials), _SIZE, "--trials 8"),
        (sweep.search in _SEARCHES, ("sweep.search", sweep.search), _SEARCH, "--search random"),
        (
            interval < horizon,
            ("sweep.population.interval", interval),
            f"less than the horizon, {horizon:g}",
            "train longer, or compare more often",
        ),
        (not sweep.winner_seeds, ("sweep.winner_seeds", sweep.winner_seeds), _SEEDS, ""),
        (saves, ("trainer.enable_checkpointing", False), _SAVES, "leave it out"),
    ):
        if not is_right:
            raise UserError(must(key, rule, value), config.where(key), remedy)


def _check_optimizer(config: Config) -> None:
    """Find out that what a config's optimizer begins with can be told without a trainer."""
    built = prepare(config)
    try:
        fresh(built)
    except Exception as error:  # whatever a module's own method raises
        kind = type(built.model)
        place = f"{inspect.getsourcefile(kind)}: {kind.__name__}.configure_optimizers"
        raise UserError(
            "`configure_optimizers` must work without a trainer under pbt, but raises "
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            place,
            "give the optimizer in the config: --optimizer Adam --optimizer.lr 1e-3",
        ) from error

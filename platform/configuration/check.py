"""Rules on values that types cannot tell: -1 is a float, but no learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UserError, must
from .keys import CLASS_SECTIONS, flatten, short_key

Rule = tuple[str, Callable[[Any], bool]]

_NOT_NEGATIVE: Rule = ("a finite number >= 0", lambda v: v >= 0)
_SHARE: Rule = ("in [0, 1)", lambda v: 0 <= v < 1)
_COUNT: Rule = ("an integer >= 1", lambda v: v >= 1)
_POSITIVE: Rule = ("a number > 0", lambda v: v > 0)

# Keys of Lightning's and of ours; what a family's own arguments allow, its constructor says.
_RULES: dict[str, Rule] = {
    "seed_everything": ("an integer from 0 to 4294967295", lambda v: 0 <= v < 2**32),
    "optimizer.init_args.lr": _NOT_NEGATIVE,
    "optimizer.init_args.weight_decay": _NOT_NEGATIVE,
    "optimizer.init_args.momentum": _SHARE,
    "optimizer.init_args.eps": _NOT_NEGATIVE,
    "optimizer.init_args.alpha": _SHARE,
    "optimizer.init_args.betas": ("two numbers in [0, 1)", lambda v: all(0 <= b < 1 for b in v)),
    "data.init_args.batch_size": _COUNT,
    "model.init_args.dropout": _SHARE,
    "trainer.gradient_clip_val": _NOT_NEGATIVE,
    "trainer.max_epochs": ("-1 or an integer >= 0", lambda v: v >= -1),
    "trainer.max_steps": ("-1 or an integer >= 0", lambda v: v >= -1),
    "trainer.log_every_n_steps": _COUNT,
    "launch.num_workers": _COUNT,
    "launch.max_workers": _COUNT,
    "launch.cpus_per_worker": _POSITIVE,
    "launch.gpus_per_worker": _NOT_NEGATIVE,
    "launch.max_failures": ("-1 (no limit) or an integer >= 0", lambda v: v >= -1),
    "launch.hang_timeout_s": ("a number >= 0 (0: no limit)", lambda v: v >= 0),
    "launch.save_every_n_epochs": _COUNT,
    "launch.save_every_n_steps": _COUNT,
    "sweep.trials": ("an integer from 1 to 1000000", lambda v: 1 <= v <= 10**6),
    "sweep.max_epochs": _COUNT,
    "sweep.max_time_s": _POSITIVE,
    "sweep.trial_time_s": _POSITIVE,
    "sweep.grace": _POSITIVE,
    "sweep.horizon": _POSITIVE,
    "sweep.winner_seeds": ("an integer >= 0", lambda v: v >= 0),
    "sweep.reduction_factor": ("an integer >= 2", lambda v: v >= 2),
    "sweep.max_concurrent": _COUNT,
    "sweep.population.interval": _POSITIVE,
    "sweep.population.quantile": ("in (0, 0.5]", lambda v: 0 < v <= 0.5),
    "sweep.population.resample": ("in [0, 1]", lambda v: 0 <= v <= 1),
    "sweep.population.factors": (
        "a list of positive numbers",
        lambda v: bool(v) and all(f > 0 for f in v),
    ),
    "weights_only": ("true: nothing untrusted is unpickled", lambda v: v is not False),
}


def check_values(values: Mapping[str, Any], where: Callable[[str], str]) -> None:
    """Check a parsed config's values against the rules.

    Args:
        values: The parsed config as nested mappings.
        where: Function from a dotted key to the place where the user wrote it.

    Raises:
        UserError: The first value that breaks its rule.
    """
    for key, value in flatten(dict(values)).items():
        if key.startswith(("sweep.space", "sweep.points", "sweep.search_args")):
            continue  # the space and the searcher have rules of their own
        if key.partition(".")[0] in CLASS_SECTIONS and not _is_finite(value):
            raise UserError(must(short_key(key), "a finite number", value), where(key))
        rule = _RULES.get(key)
        if rule and value is not None and not _holds(rule, value):
            raise UserError(must(short_key(key), rule[0], value), where(key))


def _is_finite(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_finite(v) for v in value)
    return not isinstance(value, float) or math.isfinite(value)


def _holds(rule: Rule, value: Any) -> bool:
    try:
        return bool(rule[1](value)) and _is_finite(value)
    except TypeError:
        return True  # of another type, which the parser allowed: a tensor learning rate, say

"""The time that a sweep takes: the pace of its trials, and the sweep played through with it."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..budget import Budget
from ..plan import Plan
from ..population.judge import make_judge
from ..population.rule import PopulationRule
from ..rows import Rows
from ..stopping.judge import Judge
from .calibration import Measured, measure
from .past_times import PastTimes
from .simulation import Pace, Played, Simulation, population_seconds
from .sizes import Size, choose, nearest

DRAWS, MAX_PLAYED = 15, 200
MAX_MEASURED = 6
IMPORT_S = 6.0  # of the command itself, before the sweep begins, and its end
AROUND_S = 9.5  # Ray's start before the first trial, pictures and report after the last
BESIDE = 1.05  # times as long as alone, where trials take all cores
EPOCH_S = 0.025  # an epoch's record and its report to the sweep
RECORD_S = 0.15  # the record of a trial, its run and its journal
# Between what a sweep's time over its estimate is told to lie; on an idle machine it was 0.90 to
# 1.24 of what was measured and 0.97 to 1.17 of a record (tests/benchmarks/forecast.py).
MEASURED_ERROR, PAST_ERROR = (0.7, 1.3), (0.85, 1.2)
UNIT_STEPS = 1000.0  # of an axis of steps without epochs; only a budget in epochs asks


@dataclass
class Paces:
    """How fast the trials train, and how that is known.

    Args:
        paces: Of each trial, by number; empty: unknown.
        measured: Where it comes from, for `--json`.
        checkpoint_bytes: Size of one checkpoint.
        checkpoint_parameters: Parameters of the model that it holds; 0: unknown.
        around_s: Seconds of the command before its first trial and after its last.
        error: How far sweeps have been from such an estimate: least and most, as a factor.
        assumed: What was not measured, a sentence each.
    """

    paces: list[Pace]
    measured: dict[str, Any]
    checkpoint_bytes: int
    checkpoint_parameters: int = 0
    around_s: float = IMPORT_S + AROUND_S
    error: tuple[float, float] = MEASURED_ERROR
    assumed: list[str] = field(default_factory=list)


def paces_of_past(past: PastTimes, count: int) -> Paces:
    """Paces of an earlier sweep's trials, one after another as often as it takes."""
    found = Paces(
        [past.paces[number % len(past.paces)] for number in range(count)],
        {"from": past.name, "configurations": len(past.paces)},
        past.checkpoint_bytes,
        error=PAST_ERROR,
        assumed=[f"trials train as fast as those of {past.name} did, where that ran"],
    )
    if past.around_s is None:
        found.assumed.append(f"start and end take {found.around_s:g} s")
    else:
        found.around_s = IMPORT_S + past.around_s
    return found


def paces_by_measuring(
    plan: Plan, base: Size, trials: Sequence[Size], count: int, width: int, limit_s: float
) -> Paces:
    """Paces of all trials from those of a few that are measured here.

    Args:
        plan: The sweep.
        base: The recipe's own size.
        trials: Sizes of the trials, as many as were looked at.
        count: How many trials there are.
        width: How many run at a time.
        limit_s: Seconds to measure, over all configurations together.
    """
    chosen = [trials[i] for i in choose(trials, MAX_MEASURED)] or [base]
    found = _measure_some(plan, chosen, limit_s)
    largest = max(range(len(found)), key=lambda i: found[i].checkpoint_bytes)
    made = Paces(
        [],
        {
            "from": "steps of its own, here",
            "configurations": len(found),
            "steps": sum(one.steps for one in found),
        },
        found[largest].checkpoint_bytes,
        chosen[largest].num_parameters,
    )
    own = [pace for one in found if (pace := _in_a_sweep(plan, one)) is not None]
    if len(own) < len(found):
        made.assumed = [f"no time: the axis {plan.time_axis} is not one of epochs or steps"]
        return made
    made.assumed = _assumptions(plan)
    like = [nearest(size, chosen[: len(own)]) for size in trials] or [0]
    # The first configuration was measured in a process that had to load what the next ones found.
    cold_s = own[0].overhead_s
    warm_s = statistics.median([pace.overhead_s for pace in own[1:]] or [cold_s])
    made.paces = [
        Pace(cold_s if number < width else warm_s, own[like[number % len(like)]].per_unit_s)
        for number in range(count)
    ]
    return made


def _measure_some(plan: Plan, sizes: Sequence[Size], limit_s: float) -> list[Measured]:
    """The first sizes, as many as there is time for; at least one."""
    found: list[Measured] = []
    until = time.monotonic() + limit_s
    for size in sizes:
        left = until - time.monotonic()
        if found and left <= 0:
            break
        config = plan.config.override(plan.space.assignments(size.values))
        found.append(measure(config, max(0.0, left) / (len(sizes) - len(found))))
    return found


def _in_a_sweep(plan: Plan, one: Measured) -> Pace | None:
    """The pace of a trial that trains as this did, with its record and beside others."""
    pace = one.pace(plan.time_axis, record_s=EPOCH_S)
    if pace is None:
        return None
    each = BESIDE * pace.per_unit_s / plan.config.launch.num_workers
    return Pace(BESIDE * pace.overhead_s + RECORD_S, each)


def _assumptions(plan: Plan) -> list[str]:
    found = [
        f"start and end take {IMPORT_S + AROUND_S:g} s, the record of a trial {RECORD_S:g} s",
        f"beside others a trial takes {BESIDE:g} times as long, its record {EPOCH_S:g} s an epoch",
        "nothing else runs there",
    ]
    if plan.config.launch.address:
        found.append("the cluster's cores are as fast as those here")
    if plan.config.launch.has_many_workers:
        found.append("exchanging gradients costs nothing")
    return found


def play(plan: Plan, paces: Sequence[Pace], width: int, budget: Budget) -> list[Played]:
    """The sweep played through a few times, with scores that are drawn anew."""
    rule, horizon = plan.rule, plan.horizon
    if not paces or horizon is None or isinstance(rule, PopulationRule):
        return []
    sweep = plan.config.sweep
    count = min(len(paces), MAX_PLAYED)

    def judge_of(rows: Rows) -> Judge:
        return make_judge(rule, rows, in_order=sweep.in_order)

    per_unit = 1.0 if plan.time_axis == "epoch" else _epochs_per_unit(plan)
    played = []
    for draw in range(DRAWS if rule is not None else 1):
        chance = random.Random(draw)
        scores = [chance.random() for _ in range(count)]
        one = Simulation(
            judge_of,
            paces[:count],
            scores,
            width=width,
            horizon=horizon,
            budget=budget,
            epochs_per_unit=per_unit,
            mode=sweep.mode,
        )
        found = one.run()
        # What a budget has ended is the whole of it.
        is_whole = found.cut > 0 or found.trials < count
        played.append(found if is_whole else found.times(len(paces) / count))
    return played


def _epochs_per_unit(plan: Plan) -> float:
    epochs = plan.config.get("trainer.max_epochs")
    return epochs / plan.horizon if epochs and epochs > 0 and plan.horizon else 1 / UNIT_STEPS


def sweep_seconds(
    plan: Plan, known: Paces, width: int, played: Sequence[Played]
) -> dict[str, float] | None:
    """Time from the command to the end: the mean of the draws, and between what it may lie.

    The least and the most are those of the draws, wider by how far such estimates were from what
    sweeps then took.

    Args:
        plan: The sweep.
        known: How fast its trials train.
        width: How many run at a time.
        played: The draws.
    """
    paces, horizon = known.paces, plan.horizon
    if not paces or horizon is None:
        return None
    if isinstance(plan.rule, PopulationRule):
        found = [population_seconds(paces, plan.rule.rungs(0), horizon, width)]
    else:
        found = [one.seconds for one in played]
    seeds = plan.config.sweep.winner_seeds
    more = known.around_s + seeds * statistics.fmean(pace.seconds(horizon) for pace in paces)
    return {
        "estimate": round(statistics.fmean(found) + more, 1),
        "least": round((min(found) + more) * known.error[0], 1),
        "most": round((max(found) + more) * known.error[1], 1),
        "around": round(known.around_s, 1),
    }


def trial_seconds(paces: Sequence[Pace], horizon: float | None) -> dict[str, float] | None:
    """What one trial takes that runs to its end."""
    if not paces or horizon is None:
        return None
    found = sorted(pace.seconds(horizon) for pace in paces)
    return {
        "median": round(statistics.median(found), 2),
        "least": round(found[0], 2),
        "most": round(found[-1], 2),
    }

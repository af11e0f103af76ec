"""The time that a sweep takes: the pace of its trials, and the sweep played through with it."""

from __future__ import annotations

import random
import statistics
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
NUM_MEASURED = 3
IMPORT_S = 5.0  # of the command itself, before the sweep begins, and its end
AROUND_S = 10.0  # Ray's start before the first trial, pictures and report after the last
BESIDE = 1.15  # times as long as alone, with the record and where trials take all cores
RECORD_S = 0.3  # the record of a trial, its run and its journal
# A sweep's time over its estimate, at the least and the most that is told: on an idle machine, short
# trials and long ones (tests/benchmarks/forecast.py).
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
    plan: Plan, base: Size, trials: Sequence[Size], count: int, limit_s: float
) -> Paces:
    """Paces of all trials from those of a few that are measured here.

    Args:
        plan: The sweep.
        base: The recipe's own size.
        trials: Sizes of the trials, as many as were looked at.
        count: How many trials there are.
        limit_s: Seconds to measure, over all configurations together.
    """
    stand_ins = [trials[i] for i in choose(trials, NUM_MEASURED)] or [base]
    found: list[Measured] = []
    for size in stand_ins:
        config = plan.config.override(plan.space.assignments(size.values))
        found.append(measure(config, limit_s / len(stand_ins)))
    largest = max(range(len(found)), key=lambda i: found[i].checkpoint_bytes)
    made = Paces(
        [],
        {
            "from": "steps of its own, here",
            "configurations": len(found),
            "steps": sum(one.steps for one in found),
        },
        found[largest].checkpoint_bytes,
        stand_ins[largest].num_parameters,
    )
    paces = [pace for one in found if (pace := one.pace(plan.time_axis)) is not None]
    if len(paces) < len(found):
        made.assumed = [f"no time: the axis {plan.time_axis} is not one of epochs or steps"]
        return made
    made.assumed = _assumptions(plan)
    workers = plan.config.launch.num_workers
    own = [
        Pace(BESIDE * pace.overhead_s + RECORD_S, BESIDE * pace.per_unit_s / workers)
        for pace in paces
    ]
    like = [own[nearest(size, stand_ins)] for size in trials] or own
    made.paces = [like[number % len(like)] for number in range(count)]
    return made


def _assumptions(plan: Plan) -> list[str]:
    found = [
        f"start and end take {IMPORT_S + AROUND_S:g} s, the record of a trial {RECORD_S:g} s",
        f"a step takes {BESIDE:g} times as long beside its record and other trials as alone",
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
        played.append(one.run())
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
        scale = len(paces) / min(len(paces), MAX_PLAYED)
        found = [one.seconds * scale for one in played]
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

"""A sweep's forecast: its shape, its rungs, the time and the disk that it takes, what is too large.

Time is played through with drawn scores (`simulation`), with the pace of a few configurations that
were measured here or of an earlier run. What is not measured is written down in `assumed`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...platform.configuration.config import Config
from ...platform.launch.capacity import worker_shape
from ..budget import read_budget
from ..plan import Plan, check_values, plan_sweep
from . import footprint
from .past_times import read_past_times
from .room import Room, room_for
from .simulation import Played
from .sizes import look, proposals
from .timing import paces_by_measuring, paces_of_past, play, sweep_seconds, trial_seconds


@dataclass
class Forecast:
    """What a sweep would take; `--json` has the same fields.

    Args:
        recipe: The recipe.
        where: `this machine`, or the cluster's address.
        nodes: What each node has.
        shape: What a worker reserves.
        workers: Workers of a trial.
        width: Trials at a time.
        trials: Trials in all.
        waves: How many rounds of trials that makes.
        search: Who proposes the trials.
        scheduler: Who stops them.
        time_axis: What the rungs count.
        horizon: End of the time axis; None: unknown.
        rungs: Where trials are judged: `at`, how many `trials` at most, how many are `stopped`.
        seconds: `estimate` of the whole command, of which `around` is before its first and after
            its last trial, and between what it may lie, `least` and `most`; None: unknown.
        trial_seconds: `median`, `least`, `most` of a trial that runs to its end; None: unknown.
        units: Units of the time axis that all trials train together; None: unknown.
        measured: What the time rests on.
        parameters: Of the `recipe`, and of the `largest` configuration.
        larger: Configurations that are much larger than the recipe.
        never_fit: Those that exceed the memory of a trial.
        disk: Bytes that checkpoints `need`, of one `checkpoint`, `free` in the `folder`.
        assumed: What the figures take for granted.
    """

    recipe: str
    where: str
    nodes: list[dict[str, float]]
    shape: dict[str, float]
    workers: int
    width: int
    trials: int
    waves: int
    search: str
    scheduler: str
    time_axis: str
    horizon: float | None
    rungs: list[dict[str, Any]]
    seconds: dict[str, float] | None
    trial_seconds: dict[str, float] | None
    units: float | None
    measured: dict[str, Any]
    parameters: dict[str, Any]
    larger: list[dict[str, Any]]
    never_fit: list[dict[str, Any]]
    disk: dict[str, Any]
    assumed: list[str] = field(default_factory=list)


def forecast(config: Config, *, like: str | None, limit_s: float) -> Forecast:
    """What a sweep of a config would take; nothing of it is started or recorded.

    Args:
        config: A recipe's config.
        like: An earlier run or sweep whose times are taken; None: they are measured.
        limit_s: Seconds to measure, over all configurations together.

    Raises:
        UserError: What a sweep would refuse.
        RunError: The module raised while it was measured.
    """
    plan = plan_sweep(config)
    storage, axis = config.launch.storage, plan.time_axis
    past = None if like is None else read_past_times(like, storage, axis)
    room = room_for(config)
    budget = read_budget(config.sweep, plan.proposer.count, 0.0)
    count = budget.trials
    base, trials, corners = look(plan, proposals(plan, count))
    every = [base, *trials, *corners]
    never_fit = footprint.too_large(room, config, every)
    if not never_fit:  # checking builds each corner of the space, and one of them has no room
        check_values(plan)
    able = [size for size in trials if size not in never_fit]
    if past is not None:
        known = paces_of_past(past, count)
    else:
        known = paces_by_measuring(plan, base, able, count, room.width, limit_s)
    played = play(plan, known.paces, room.width, budget)
    disk = known.checkpoint_bytes, known.checkpoint_parameters, able, count
    largest = max(size.num_parameters for size in every)
    return Forecast(
        **_shape(plan, room, count),
        rungs=_rungs(plan, count, played),
        seconds=sweep_seconds(plan, known, room.width, played),
        trial_seconds=trial_seconds(known.paces, plan.horizon),
        units=statistics.fmean([p.units for p in played]) if played else None,
        measured=known.measured,
        parameters={"recipe": base.num_parameters, "largest": largest},
        larger=footprint.much_larger(base, every),
        never_fit=footprint.told(never_fit, base),
        disk=footprint.disk(config, *disk),
        assumed=[*known.assumed, *_of_playing(played)],
    )


def _shape(plan: Plan, room: Room, count: int) -> dict[str, Any]:
    """What a trial is, and how many of them there are at a time."""
    launch = plan.config.launch
    return {
        "recipe": plan.config.recipe,
        "where": room.where,
        "nodes": [{k: n[k] for k in ("CPU", "GPU") if k in n} for n in room.nodes],
        "shape": {name: amount for name, amount in worker_shape(launch).items() if amount},
        "workers": launch.num_workers,
        "width": room.width,
        "trials": count,
        "waves": -(-count // room.width),
        "search": plan.proposer.name,
        "scheduler": plan.config.sweep.scheduler,
        "time_axis": plan.time_axis,
        "horizon": plan.horizon,
    }


def _of_playing(played: Sequence[Played]) -> list[str]:
    if not any(one.stopped_at for one in played):
        return []
    return ["which trials are stopped is drawn; scores keep their order between rungs"]


def _rungs(plan: Plan, count: int, played: Sequence[Played]) -> list[dict[str, Any]]:
    """Each rung of the sweep's own rule, how many come to it, and how many of them go on."""
    if plan.rule is None:
        return []
    by_rung: dict[float, int] = {}
    for number in range(count):
        for rung in plan.rule.rungs(number):
            by_rung[rung] = by_rung.get(rung, 0) + 1
    return [
        {
            "at": rung,
            "trials": most,
            "stopped": round(statistics.fmean(p.stopped_at[rung] for p in played), 1)
            if played
            else None,
        }
        for rung, most in sorted(by_rung.items())
    ]

"""`paceline plan RECIPE`: the forecast for a person, and the object for `--json`."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from ...platform.arguments import Arguments
from ...platform.catalog import recipe_path
from ...platform.progress import console
from ...platform.tables import format_bytes, table
from .forecast import Forecast, forecast

LIMIT_S = 10.0
Answer = tuple[Any, str, int]


def plan_command(arguments: Arguments) -> Answer:
    """`paceline plan RECIPE`, with the flags of a sweep; nothing of it is started.

    Raises:
        UserError: What a sweep would refuse.
        RunError: The module raised while it was measured.
    """
    recipe_path(str(arguments.positional["RECIPE"]))  # a misspelt name is told at once
    from ...platform.commands.run_commands import config_of

    config = config_of(arguments)
    if arguments.flag("print_config"):
        return config.resolved, config.text(), 0
    like, limit_s = arguments.options.get("like"), arguments.options.get("measure", LIMIT_S)
    screen = console()
    waiting = screen.status("measuring") if screen.is_terminal else contextlib.nullcontext()
    with waiting:
        found = forecast(config, like=like, limit_s=limit_s)
    return dataclasses.asdict(found), told(found), 0


def told(found: Forecast) -> str:
    """What a person reads."""
    shape = ", ".join(f"{amount:g} {name}" for name, amount in found.shape.items()) or "nothing"
    workers = f"{found.workers} workers of {shape} each" if found.workers > 1 else shape
    have = "; ".join(", ".join(f"{v:g} {k}" for k, v in n.items() if v) for n in found.nodes)
    lines = [
        f"{found.recipe}: {found.trials} trials by {found.search}, "
        f"{found.scheduler} over {_axis(found)}",
        "",
        f"  a trial       {workers}",
        f"  room          {found.width} at a time on {found.where} ({have})",
        f"  waves         {found.waves}",
        *_time(found),
        *_disk(found),
    ]
    if found.rungs:
        cells = [
            (f"{r['at']:g}", str(r["trials"]), "" if r["stopped"] is None else f"{r['stopped']:g}")
            for r in found.rungs
        ]
        header = (f"rung ({found.time_axis})", "judged there, at most", "stopped, on average")
        lines += ["", table(header, cells, ">>>")]
    lines += _sizes(found)
    lines += ["", *(f"  assumed       {one}" for one in found.assumed)]
    return "\n".join(lines).rstrip()


def _axis(found: Forecast) -> str:
    if found.horizon is None:
        return f"{found.time_axis}s without an end"
    return f"{found.horizon:g} {found.time_axis}s"


def _time(found: Forecast) -> list[str]:
    if found.seconds is None or found.trial_seconds is None:
        return ["  time          unknown"]
    time, trial = found.seconds, found.trial_seconds
    of = f"{found.measured['configurations']} configurations, {found.measured['from']}"
    return [
        f"  time          {_clock(time['estimate'])} "
        f"({_clock(time['least'])} to {_clock(time['most'])})",
        f"  a whole trial {_clock(trial['median'])} "
        f"({_clock(trial['least'])} to {_clock(trial['most'])}; {of})",
    ]


def _clock(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _disk(found: Forecast) -> list[str]:
    disk = found.disk
    line = (
        f"  checkpoints   {format_bytes(disk['needed'])} ({format_bytes(disk['checkpoint'])} one)"
    )
    free = disk["free"]
    if free is None:
        return [f"{line}, in {disk['folder']}"]
    line += f" of {format_bytes(free)} free in {disk['folder']}"
    if disk["needed"] > free:
        line += "\n                too little: another --storage, or fewer --trials"
    return [line]


def _sizes(found: Forecast) -> list[str]:
    lines = []
    for one in found.larger:
        who = "a corner of the space" if one["trial"] is None else f"trial {one['trial']}"
        lines.append(
            f"  much larger   {who}: {one['parameters']:,} parameters, "
            f"{one['times']:g} times the recipe's {found.parameters['recipe']:,}"
        )
    for one in found.never_fit:
        who = "a corner of the space" if one["trial"] is None else f"trial {one['trial']}"
        size = format_bytes(one["state_bytes"])
        lines.append(f"  never fits    {who}: {size} of weights and optimizer, more than its share")
    return ["", *lines] if lines else []

"""What `paceline status` tells a person: all runs in a table, or one with its living trials."""

from __future__ import annotations

import time

from ...platform.tables import columns, format_bytes
from ..table import format_seconds, format_value
from .status import Standing


def overview(found: list[Standing]) -> str:
    """All runs in a table, and below it what to do about those that want something done."""
    table = [["name", "kind", "status", "trials", "best", "epochs", "since", "left", "disk"]]
    for one in found:
        table.append(
            [
                one.name,
                one.kind or "-",
                one.status,
                "-" if one.total is None else f"{one.over}/{one.total}",
                "-" if one.best is None else f"{one.best:.4g} {one.metric}",
                "-" if one.epochs is None else str(one.epochs),
                _moment(one.began_at),
                "-" if one.eta_s is None else format_seconds(one.eta_s),
                format_bytes(one.checkpoint_bytes),
            ]
        )
    lines = columns(table, "<<<><>>>>")
    asking = [one for one in found if one.error or one.remedy]
    return "\n".join([*lines, *([""] if asking else []), *map(_asks, asking)])


def _asks(one: Standing) -> str:
    if one.status == "damaged":
        return f"{one.name} is damaged: {one.error}" + (f"; {one.remedy}" if one.remedy else "")
    return f"{one.name} was {one.status}: {one.remedy}"


def detail(one: Standing) -> str:
    """One run or sweep with its living trials."""
    head = f"{one.name}: {one.kind} {one.status}".replace(":  ", ": ")
    lines = [head + (f", process {one.pid}" if one.pid else "")]
    if one.total is not None:
        epochs = f"{one.epochs} epoch{'' if one.epochs == 1 else 's'}"
        lines.append(f"  trials        {one.over} of {one.total} are over, {epochs}")
    if one.best is not None:
        by = f" (trial {one.best_trial})" if one.best_trial else ""
        lines.append(f"  best          {one.metric} {one.best:.4g}{by}")
    took = "" if one.seconds is None else f", {format_seconds(one.seconds)}"
    lines.append(f"  since         {_moment(one.began_at)}{took}")
    if one.eta_s is not None:
        lines.append(f"  left          about {format_seconds(one.eta_s)}")
    lines.append(f"  checkpoints   {format_bytes(one.checkpoint_bytes)}")
    if one.living:
        table = [["trial", "status", "epoch", one.metric, "time"]]
        table += [
            [
                trial["trial_id"],
                trial["status"],
                str(trial["epoch"] or "-"),
                format_value(trial["score"]),
                format_seconds(trial["seconds"]),
            ]
            for trial in one.living
        ]
        lines += ["", *(f"  {line}" for line in columns(table, "<<>>>"))]
    if one.error or one.remedy:
        lines += ["", _asks(one)]
    return "\n".join(lines)


def _moment(began_at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(began_at)) if began_at else "-"

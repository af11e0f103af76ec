"""The report of a sweep from what lies in its folder, without building a model or asking MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...platform.configuration.file import read
from ...platform.configuration.keys import get_key
from ...platform.errors import UserError
from ..journal import read_events
from ..result import SweepResult
from ..search.space import Space, read_space
from .sweep_report import SweepReport, WinnerMetric

_LIMITS = {"epoch": "trainer.max_epochs", "step": "trainer.max_steps"}


def stored_report(result: SweepResult, folder: Path) -> SweepReport:
    """What the report of a sweep is made from.

    Args:
        result: The sweep as it stands.
        folder: Its folder, with its config and its journal.

    Raises:
        UserError: The config cannot be read, or the journal is not as it was written.
    """
    config = read(folder / "config.yaml")[0] if (folder / "config.yaml").exists() else {}
    events = read_events(folder)
    header = next((event for event in events if event["event"] == "sweep"), {})
    sweep = get_key(config, "sweep") or {}
    axis = header.get("time_axis") or sweep.get("time_axis") or "epoch"
    asked = [sweep.get("trials"), *(e["trials"] for e in events if e["event"] == "extend")]
    return SweepReport(
        name=result.name,
        rows=result.rows,
        space=_space(config, sweep),
        objectives=sweep.get("objectives") or {},
        horizon=_horizon(header, config, axis),
        time_axis=axis,
        status=result.status,
        seconds=result.seconds,
        links=_links(result),
        parent_link=result.link,
        winner=_winner(result),
        winner_seeds=len((result.winner or {}).get("seeds", ())),
        recipe=header.get("recipe", ""),
        changes=header.get("changes", {}),
        go_on=(f"paceline test {result.name}",) if sweep.get("scheduler") == "pbt" else (),
        planned=max((count for count in asked if count), default=None),
    )


def _space(config: dict[str, Any], sweep: Mapping[str, Any]) -> Space | None:
    """The space; None when it is none any more, as after an edit: one can still look."""
    try:
        return read_space(sweep.get("space") or {}, config).select(sweep.get("vary") or ())
    except UserError:
        return None


def _horizon(header: Mapping[str, Any], config: Any, axis: str) -> float | None:
    found = header.get("horizon") or get_key(config, "sweep.horizon")
    found = found or get_key(config, _LIMITS.get(axis, ""))
    return float(found) if found and found > 0 else None


def _links(result: SweepResult) -> dict[str, str]:
    """The trials' pages: the sweep's own address with another run in it."""
    if not result.run_id or result.run_id not in result.link:
        return {}
    ids = [row.run_id for row in result.rows if row.run_id]
    return {run_id: result.link.replace(result.run_id, run_id) for run_id in ids}


def _winner(result: SweepResult) -> tuple[WinnerMetric, ...]:
    metrics = (result.winner or {}).get("metrics", {})
    return tuple(WinnerMetric(name, mean, half) for name, (mean, half) in metrics.items())

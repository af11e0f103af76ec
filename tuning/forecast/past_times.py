"""How fast an earlier run or sweep trained, from its own record."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...platform.errors import UserError, must
from ...platform.home import read_state, run_folder
from ...platform.training.checkpoint_names import LATEST
from ..journal import read_events, read_rows
from ..rows import TrialRow
from ..trial_folder import folder_of
from .simulation import Pace

FLAG = "--like"


@dataclass(frozen=True)
class PastTimes:
    """What an earlier run or sweep took.

    Args:
        name: Its name.
        paces: How fast each of its trials trained, or the one run.
        around_s: Seconds of the sweep before its first trial and after its last; None: unknown, as
            of a single run or of a sweep that was interrupted.
        checkpoint_bytes: Size of its largest checkpoint; 0 where none is left.
    """

    name: str
    paces: list[Pace]
    around_s: float | None
    checkpoint_bytes: int


def read_past_times(name: str, storage: str | None, axis: str) -> PastTimes:
    """Read the times of an earlier run or sweep.

    Args:
        name: Its name.
        storage: What `--storage` takes.
        axis: The time axis of the sweep that is planned.

    Raises:
        UserError: No such name, or its record has too few times.
    """
    state = read_state(name, storage)
    found = _of_sweep if state.get("kind") == "sweep" else _of_run
    past = found(name, storage, state, axis)
    if not past.paces:
        rule = "a run or sweep with two validations at least, on the same time axis"
        remedy = "leave it out: a few steps are then measured here"
        raise UserError(must(FLAG, rule, name), FLAG, remedy)
    return past


def _of_sweep(name: str, storage: str | None, state: dict[str, Any], axis: str) -> PastTimes:
    folder = run_folder(name, storage)
    events = read_events(folder)
    rows = read_rows(folder, state["metric"], state["mode"])
    is_same = bool(events) and events[0].get("time_axis", "epoch") == axis
    paces = [pace for row in rows if (pace := _pace_of(row)) is not None] if is_same else []
    sizes = [folder_of(folder, row.number) / LATEST for row in rows]
    return PastTimes(name, paces, _around(events, state), _largest(sizes))


def _around(events: Sequence[dict[str, Any]], state: dict[str, Any]) -> float | None:
    """What a sweep took beside its trials; None when it was interrupted or has not ended."""
    kinds = {event["event"] for event in events}
    if {"resume", "extend"} & kinds or state.get("status") != "finished" or "start" not in kinds:
        return None
    moments = [event["time"] for event in events if event["event"] in ("start", "end")]
    return max(0.0, float(state.get("seconds") or 0.0) - (max(moments) - min(moments)))


def _pace_of(row: TrialRow) -> Pace | None:
    """How fast a trial was between its first and its last report; None: it has not two of them."""
    if len(row.history) < 2 or not row.is_over or row.copies or row.attempt > 1:
        return None
    first, last = row.history[0], row.history[-1]
    if last.at <= first.at or last.time <= first.time:
        return None
    per_unit = (last.time - first.time) / (last.at - first.at)
    return Pace(max(0.0, row.seconds - per_unit * last.at), per_unit)


def _of_run(name: str, storage: str | None, state: dict[str, Any], axis: str) -> PastTimes:
    from ...platform.tracking.client import asked, connect

    client = connect(state["tracking_uri"])
    metric = state.get("metric") or "val/loss"
    points = asked(
        state["tracking_uri"], lambda: client.get_metric_history(state["run_id"], metric)
    )
    moments = sorted((point.timestamp / 1000, point.step) for point in points)
    folder = run_folder(name, storage)
    pace = _pace_of_points(moments, axis, float(state.get("seconds") or 0))
    return PastTimes(name, [pace] if pace else [], None, _largest([folder / LATEST]))


def _pace_of_points(moments: Sequence[tuple[float, int]], axis: str, seconds: float) -> Pace | None:
    """A pace from the times and steps of a run's validations."""
    if len(moments) < 2 or axis not in ("epoch", "step"):
        return None
    gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(moments)]
    units = 1.0 if axis == "epoch" else (moments[-1][1] - moments[0][1]) / len(gaps)
    if units <= 0 or sum(gaps) <= 0:
        return None
    per_unit = statistics.fmean(gaps) / units
    total = len(moments) if axis == "epoch" else moments[-1][1]
    return Pace(max(0.0, seconds - per_unit * total), per_unit)


def _largest(paths: Sequence[Any]) -> int:
    return max((path.stat().st_size for path in paths if path.exists()), default=0)

"""The trials of a sweep, one row each, folded from the events of its journal. Pure.

The live table, the result, the report, the stopping rules and every verb that looks at a sweep read
the same rows; nothing else keeps state about a trial. An event that comes twice, as after a restart
from a checkpoint, changes nothing the second time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .stopping.verdict import Verdict

TrialStatus = Literal["pending", "running", "finished", "failed", "killed"]


class Report(NamedTuple):
    """One validation of a trial.

    Args:
        epoch: Epochs done, from 1.
        at: Position on the sweep's time axis; the epoch unless the sweep says otherwise.
        step: Optimizer steps done.
        score: The deciding metric; NaN when it is missing or no number.
        time: Unix time in seconds.
        metrics: All metrics of the validation.
        order: How many reports of any trial came before it.
    """

    epoch: int
    at: float
    step: int
    score: float
    time: float
    metrics: dict[str, float]
    order: int


@dataclass
class TrialRow:
    """One trial as it stands.

    Args:
        number: Position in the search, from 0; with the sweep's seed it fixes a random trial.
        values: Knob -> value.
        seed: What the trial trains with.
        origin: Who proposed it: `random`, `grid`, `tpe`, `point`, a searcher's class.
        run_id: Its MLflow run.
        status: How it stands.
        stop_reason: `completed`, `early_stopped` or `budget`, once it ended by itself.
        epoch: Epochs done.
        metrics: Those of the best epoch by the deciding metric, or of the last where none decides.
        score: The deciding metric's best finite value so far.
        best_epoch: Where that was.
        error: Last line of the exception that it failed of.
        detail: What else is known of its end, in a sentence.
        attempt: How often it was started.
        begun_at: Unix time of its present or last start in an actor, in seconds.
        ended_at: Unix time of its end.
        spent: Seconds of earlier attempts.
        history: Its reports, one an epoch, in order.
        verdicts: What was decided at its rungs, in order.
        facts: What is known of it beside metrics, such as `num_parameters`.
    """

    number: int
    values: dict[str, Any]
    seed: int | None = None
    origin: str = ""
    run_id: str = ""
    status: TrialStatus = "pending"
    stop_reason: str = ""
    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    score: float | None = None
    best_epoch: int = 0
    error: str = ""
    detail: str = ""
    attempt: int = 0
    begun_at: float | None = None
    ended_at: float | None = None
    spent: float = 0.0
    history: list[Report] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def trial_id(self) -> str:
        """The number as folders and tables write it."""
        return f"{self.number:03d}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.status not in ("pending", "running")

    @property
    def at(self) -> float:
        """Position on the time axis; 0 before the first report."""
        return self.history[-1].at if self.history else 0.0

    @property
    def seconds(self) -> float:
        """Wall time in actors so far, of all attempts."""
        if self.begun_at is None:
            return self.spent
        return self.spent + max(0.0, (self.ended_at or time.time()) - self.begun_at)

    def report_at(self, rung: float) -> Report | None:
        """The first report at or behind a rung; None when the trial has not come so far."""
        return next((report for report in self.history if report.at >= rung), None)

    def value_of(self, name: str) -> float | None:
        """An objective's value: a metric of the best epoch, a fact, or `seconds`; None without."""
        if name == "seconds":
            return self.seconds if self.is_over else None
        value = self.metrics.get(name, self.facts.get(name))
        return None if value is None or not math.isfinite(value) else value

    @property
    def diverged_since(self) -> Report | None:
        """The first of its last reports without a finite score; None when the last has one."""
        first = None
        for report in reversed(self.history):
            if math.isfinite(report.score):
                break
            first = report
        return first

    @property
    def stopped_by(self) -> Verdict | None:
        """The verdict that ended it early."""
        return next((verdict for verdict in self.verdicts if verdict.stops), None)


def is_better(value: float, than: float | None, mode: str) -> bool:
    """Whether a metric's value improves on another; NaN and infinity never do."""
    if not math.isfinite(value):
        return False
    return than is None or (value < than if mode == "min" else value > than)


class Rows:
    """The trials of a sweep, event by event.

    Args:
        metric: The deciding metric.
        mode: `min` or `max`.
    """

    def __init__(self, metric: str, mode: str):
        self.metric, self.mode = metric, mode
        self.by_number: dict[int, TrialRow] = {}
        self.num_reports = 0
        self._last_time = 0.0

    def __iter__(self) -> Iterator[TrialRow]:
        """The rows by number."""
        return iter(sorted(self.by_number.values(), key=lambda row: row.number))

    def __len__(self) -> int:
        """How many trials have been suggested."""
        return len(self.by_number)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take in one event; an unknown kind, of a later version, changes nothing."""
        kind = event["event"]
        if kind == "begin":
            number, values = event["number"], dict(event["values"])
            row = TrialRow(number, values, event.get("seed"), event.get("origin", ""))
            self.by_number.setdefault(number, row)
        elif kind == "resume":
            self._interrupt()
        elif "number" in event:
            self._apply_to(self.by_number[event["number"]], kind, event)
        self._last_time = event.get("time", self._last_time)

    def _apply_to(self, row: TrialRow, kind: str, event: Mapping[str, Any]) -> None:
        if kind == "run":
            row.run_id = event["run_id"]
        elif kind == "start":
            row.status, row.begun_at = "running", event["time"]
            row.attempt += 1
        elif kind == "report":
            self._report(row, event)
        elif kind == "verdict":
            fields = {name: event[name] for name in Verdict.__dataclass_fields__}
            if all(verdict.rung != fields["rung"] for verdict in row.verdicts):
                row.verdicts.append(Verdict(**fields))
        elif kind == "end":
            row.status, row.ended_at = event["status"], event["time"]
            row.stop_reason = event.get("stop_reason") or ""
            row.error, row.detail = event.get("error") or "", event.get("detail") or ""
            row.facts |= event.get("facts") or {}

    def _report(self, row: TrialRow, event: Mapping[str, Any]) -> None:
        epoch = int(event["epoch"])
        if row.history and epoch <= row.history[-1].epoch:
            return  # told before the trial was interrupted
        row.epoch = epoch
        metrics = event["metrics"]
        numbers = {name: float(value) for name, value in metrics.items() if value is not None}
        value = numbers.get(self.metric, math.nan)
        at, step = float(event.get("at", epoch)), int(event.get("step", 0))
        moment = float(event.get("time", 0.0))
        row.history.append(Report(epoch, at, step, value, moment, numbers, self.num_reports))
        self.num_reports += 1
        if is_better(value, row.score, self.mode):
            row.score, row.best_epoch, row.metrics = value, epoch, numbers
        elif row.score is None:
            row.metrics = numbers

    def _interrupt(self) -> None:
        """The driver died or was stopped: what had not ended by itself will go on."""
        for row in self.by_number.values():
            if row.status not in ("running", "killed"):
                continue
            if row.begun_at is not None:
                row.spent += max(0.0, (row.ended_at or self._last_time) - row.begun_at)
            row.status, row.begun_at, row.ended_at = "pending", None, None
            row.stop_reason = row.error = row.detail = ""

    def best(self) -> TrialRow | None:
        """The trial with the best score, the earliest of equals; None while there is no score."""
        best: TrialRow | None = None
        for row in self:
            if row.score is not None and is_better(row.score, best and best.score, self.mode):
                best = row
        return best

    def count(self, *statuses: str) -> int:
        """How many trials stand like this."""
        return sum(row.status in statuses for row in self.by_number.values())

    @property
    def epochs(self) -> int:
        """Epochs done by all trials together."""
        return sum(row.epoch for row in self.by_number.values())

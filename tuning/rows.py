"""The trials of a sweep, one row each, folded from the events of its journal. Pure.

The live table, the result, the report, the stopping rules and every verb that looks at a sweep read
the same rows; nothing else keeps state about a trial. An event that comes twice, as after a restart
from a checkpoint, changes nothing the second time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .stopping.verdict import Verdict
from .trial_row import Copy, Report, TrialRow, TrialStatus

__all__ = ["Copy", "Report", "Rows", "TrialRow", "TrialStatus", "is_better"]


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
            row.attempt += not row.is_paused
            row.is_paused = False
        elif kind == "report":
            self._report(row, event)
        elif kind == "diverged":
            row.diverged_at = (event["epoch"], event["step"])
        elif kind == "verdict":
            verdict = Verdict.from_dict(event)
            if row.verdict_at(verdict.rung) is None:
                row.verdicts.append(verdict)
                self._copy(row, verdict)
        elif kind in ("pause", "crash", "again"):
            _disturb(row, kind, event)
        elif kind == "end":
            row.status, row.ended_at = event["status"], event["time"]
            row.stop_reason = event.get("stop_reason") or ""
            row.error, row.detail = event.get("error") or "", event.get("detail") or ""
            row.facts |= event.get("facts") or {}

    def _report(self, row: TrialRow, event: Mapping[str, Any]) -> None:
        epoch = int(event["epoch"])
        if epoch <= row.epoch:
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
            row.best_values = row.values
        elif row.score is None:
            row.metrics = numbers

    def _copy(self, row: TrialRow, verdict: Verdict) -> None:
        """A trial goes on as its donor was at the rung, with other values."""
        if verdict.donor is None or verdict.values is None:
            return
        donor = self.by_number[verdict.donor]
        there, own = donor.report_at(verdict.rung), row.report_at(verdict.rung)
        assert there is not None, "a donor has come to the rung"
        values, own_step = dict(verdict.values), _step_of(row, own)
        row.step_offset += own_step - there.step
        row.copies.append(
            Copy(
                rung=verdict.rung,
                donor=donor.number,
                epoch=there.epoch,
                at=there.at,
                step=there.step,
                own_step=own_step,
                before=row.values,
                donated=donor.values_at(verdict.rung),
                values=values,
            )
        )
        row.values, row.epoch, row.diverged_at = values, there.epoch, None
        row.num_before_copy = len(row.history)

    def _interrupt(self) -> None:
        """The driver died or was stopped: what had not ended by itself will go on."""
        for row in self.by_number.values():
            row.is_paused = False
            if row.status in ("running", "killed"):
                _leave(row, row.ended_at or self._last_time)
                row.stop_reason = row.error = row.detail = ""
            row.is_finishing = row.stopped_by is not None and not row.is_over

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


def _disturb(row: TrialRow, kind: str, event: Mapping[str, Any]) -> None:
    """A trial does not run, at a rung or because its process died; or its workers began again."""
    error = event.get("error") or ""
    if kind == "crash" or (kind == "again" and error):
        row.failures, row.last_failure = row.failures + 1, error
    if kind == "again":
        row.attempt += 1
        return
    _leave(row, event["time"])
    row.is_paused = kind == "pause"


def _leave(row: TrialRow, moment: float) -> None:
    """A trial gave its place up, and waits for another one."""
    if row.begun_at is not None:
        row.spent += max(0.0, moment - row.begun_at)
    row.status, row.begun_at, row.ended_at = "pending", None, None


def _step_of(row: TrialRow, there: Report | None) -> int:
    """The optimizer steps with which a trial came to a rung, or to where it was lost before it."""
    if row.diverged_at is not None:
        return row.diverged_at[1]
    there = there or (row.history[-1] if row.history else None)
    return 0 if there is None else there.step

"""One trial of a sweep as it stands: its values, its reports, and its fate. Pure."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .stopping.verdict import Verdict

TrialStatus = Literal["pending", "running", "finished", "failed", "killed"]


class Copy(NamedTuple):
    """A trial went on as a copy of another one, as that stood at the same rung.

    Args:
        rung: Where both were compared.
        donor: The other trial's number.
        epoch: Epochs that the donor had done there.
        at: Its position on the time axis.
        step: Its optimizer steps.
        own_step: Steps that the trial itself had done, behind which the copy goes on.
        before: The trial's knob values until then.
        donated: The donor's.
        values: Those that the copy goes on with.
    """

    rung: float
    donor: int
    epoch: int
    at: float
    step: int
    own_step: int
    before: dict[str, Any]
    donated: dict[str, Any]
    values: dict[str, Any]

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Knob -> (the donor's value, the copy's) where they differ."""
        both = {name: (self.donated.get(name), value) for name, value in self.values.items()}
        return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


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
        values: Knob -> value, as it stands.
        seed: What the trial trains with.
        origin: Who proposed it: `random`, `grid`, `tpe`, `point`, a searcher's class.
        run_id: Its MLflow run.
        status: How it stands.
        stop_reason: `completed`, `early_stopped` or `budget`, once it ended by itself.
        epoch: Epochs done.
        metrics: Those of the best epoch by the deciding metric, or of the last where none decides.
        score: The deciding metric's best finite value so far.
        best_epoch: Where that was.
        best_values: Knob values that it had there.
        error: Last line of the exception that it failed of.
        detail: What else is known of its end, in a sentence.
        attempt: How often it was started, but for pauses.
        is_finishing: Whether it had been stopped when its process and the driver died: it goes on
            to where that was, so that nothing of it is missing in the record.
        is_paused: Whether it left its place at a rung, to go on from there.
        failures: How often its process died and it went on.
        last_failure: What was told of the last of these.
        diverged_at: `(epoch, step)` since which its loss is no finite number; None: it is one.
        begun_at: Unix time of its present or last start in an actor, in seconds.
        ended_at: Unix time of its end.
        spent: Seconds of earlier attempts.
        history: Its reports, one an epoch, in order.
        verdicts: What was decided at its rungs, in order.
        copies: When it became a copy of another one, in order.
        step_offset: By how much the steps of its record are ahead of those of its weights.
        num_before_copy: Reports that it had made when it last became one.
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
    best_values: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    detail: str = ""
    attempt: int = 0
    failures: int = 0
    last_failure: str = ""
    is_paused: bool = False
    is_finishing: bool = False
    diverged_at: tuple[int, int] | None = None
    begun_at: float | None = None
    ended_at: float | None = None
    spent: float = 0.0
    history: list[Report] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    step_offset: int = 0
    num_before_copy: int = 0

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
        if self.copies and not self.has_reported_since_copy:
            return self.copies[-1].at
        return self.history[-1].at if self.history else 0.0

    @property
    def has_reported_since_copy(self) -> bool:
        """Whether it has told anything since it last became a copy."""
        return len(self.history) > self.num_before_copy

    @property
    def seconds(self) -> float:
        """Wall time in actors so far, of all attempts."""
        if self.begun_at is None:
            return self.spent
        return self.spent + max(0.0, (self.ended_at or time.time()) - self.begun_at)

    def report_at(self, rung: float) -> Report | None:
        """The first report at or behind a rung; None when the trial has not come so far."""
        return next((report for report in self.history if report.at >= rung), None)

    def verdict_at(self, rung: float) -> Verdict | None:
        """What was decided about it at a rung; None: nothing."""
        return next((verdict for verdict in self.verdicts if verdict.rung == rung), None)

    def values_at(self, rung: float) -> dict[str, Any]:
        """The knob values with which it came to a rung."""
        later = (copy.before for copy in self.copies if copy.rung >= rung)
        return next(later, self.values)

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
        for report in reversed(self.history[self.num_before_copy :]):
            if math.isfinite(report.score):
                break
            first = report
        return first

    @property
    def stopped_by(self) -> Verdict | None:
        """The verdict that ended it early."""
        return next((verdict for verdict in self.verdicts if verdict.stops), None)

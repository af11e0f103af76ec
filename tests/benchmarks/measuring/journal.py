"""A sweep's journal as a benchmark reads it: when each trial began and ended, what it reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Trial:
    """One trial.

    Args:
        number: Its number.
        values: Knob -> value.
        run_id: Its MLflow run.
        began: Unix time at which an actor began it, in seconds.
        ended: Unix time of its end.
        status: How it ended.
        losses: `val/loss` of each epoch, in order.
    """

    number: int
    values: dict[str, Any]
    run_id: str = ""
    began: float = 0.0
    ended: float = 0.0
    status: str = ""
    losses: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall time in its actor."""
        return self.ended - self.began


def read_events(home: Path) -> Iterator[dict[str, Any]]:
    """The events of the one sweep that a home holds."""
    (path,) = home.glob("runs/*/trials.jsonl")
    for line in path.read_text().splitlines():
        yield json.loads(line)


def read_trials(home: Path) -> list[Trial]:
    """The trials of that sweep, by number."""
    trials: dict[int, Trial] = {}
    for event in read_events(home):
        number, kind = event.get("number"), event["event"]
        if number is None:
            continue
        if kind == "begin":
            trials[number] = Trial(number, event["values"])
        elif kind == "run":
            trials[number].run_id = event["run_id"]
        elif kind == "start":
            trials[number].began = event["time"]
        elif kind == "report":
            trials[number].losses.append(loss_of(event))
        elif kind == "end":
            trials[number].ended, trials[number].status = event["time"], event["status"]
    return [trials[number] for number in sorted(trials)]


def read_losses(home: Path) -> list[float]:
    """`val/loss` of every epoch of every trial, in the order in which the epochs ended."""
    reports = [event for event in read_events(home) if event["event"] == "report"]
    # A trial may tell of several epochs at once; each has its own time.
    return [loss_of(event) for event in sorted(reports, key=lambda event: event["time"])]


def loss_of(report: dict[str, Any]) -> float:
    """What a report says; NaN where the training diverged."""
    loss = report["metrics"]["val/loss"]
    return float("nan") if loss is None else float(loss)

"""What has happened in a sweep: a journal of events on disk, folded into one row a trial.

An event is appended to `trials.jsonl`, one line each, before the thing it announces begins; so
whatever a crash leaves behind can be read, and a last line that was torn is left out. The live
table, the result and `paceline show` all fold the same events.

    begin   number, values, seed            a configuration was suggested
    run     number, run_id                  its MLflow run exists
    start   number                          an actor began to train it
    report  number, epoch, metrics          a validation
    end     number, status, stop_reason...  how it ended
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

TrialStatus = Literal["pending", "running", "finished", "failed", "killed"]
JOURNAL = "trials.jsonl"


@dataclass
class TrialRow:
    """One trial as it stands.

    Args:
        number: Position in the search, from 0; with the sweep's seed it fixes the trial.
        values: Knob -> value.
        seed: What the trial trains with.
        run_id: Its MLflow run.
        status: How it stands.
        stop_reason: `completed`, `early_stopped` or `budget`, once it ended by itself.
        epoch: Epochs done.
        metrics: Those of the best epoch by the deciding metric, or of the last where none decides.
        score: The deciding metric's best finite value so far.
        best_epoch: Where that was.
        error: Last line of the exception that it failed of.
        begun_at: Unix time of its start in an actor, in seconds.
        ended_at: Unix time of its end.
        history: (epoch, score) of each report, NaN included.
    """

    number: int
    values: dict[str, Any]
    seed: int | None = None
    run_id: str = ""
    status: TrialStatus = "pending"
    stop_reason: str = ""
    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    score: float | None = None
    best_epoch: int = 0
    error: str = ""
    begun_at: float | None = None
    ended_at: float | None = None
    history: list[tuple[int, float]] = field(default_factory=list)

    @property
    def trial_id(self) -> str:
        """The number as folders and tables write it."""
        return f"{self.number:03d}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.status not in ("pending", "running")

    @property
    def seconds(self) -> float:
        """Wall time in its actor so far."""
        if self.begun_at is None:
            return 0.0
        return max(0.0, (self.ended_at or time.time()) - self.begun_at)


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

    def __iter__(self):
        """The rows by number."""
        return iter(sorted(self.by_number.values(), key=lambda row: row.number))

    def __len__(self) -> int:
        """How many trials have been suggested."""
        return len(self.by_number)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take in one event; an unknown kind, of a later version, changes nothing."""
        kind, number = event["event"], event["number"]
        if kind == "begin":
            values = dict(event["values"])
            self.by_number[number] = TrialRow(number, values, event.get("seed"))
            return
        row = self.by_number[number]
        if kind == "run":
            row.run_id = event["run_id"]
        elif kind == "start":
            row.status, row.begun_at = "running", event["time"]
        elif kind == "report":
            self._report(row, int(event["epoch"]), event["metrics"])
        elif kind == "end":
            row.status, row.ended_at = event["status"], event["time"]
            row.stop_reason = event.get("stop_reason") or ""
            row.error = event.get("error") or ""

    def _report(self, row: TrialRow, epoch: int, metrics: Mapping[str, Any]) -> None:
        row.epoch = max(row.epoch, epoch)
        numbers = {name: float(value) for name, value in metrics.items() if value is not None}
        value = numbers.get(self.metric, math.nan)
        row.history.append((epoch, value))
        if is_better(value, row.score, self.mode):
            row.score, row.best_epoch, row.metrics = value, epoch, numbers
        elif row.score is None:
            row.metrics = numbers

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


class Ledger:
    """The journal of a sweep that is being driven, and its rows.

    Args:
        folder: The sweep's folder.
        rows: What stands already.
    """

    def __init__(self, folder: Path, rows: Rows):
        self.rows = rows
        self._file: TextIO = (folder / JOURNAL).open("a", encoding="utf-8", buffering=1)

    def write(self, event: str, number: int, **details: Any) -> TrialRow:
        """Append an event, on disk before anyone acts on it, and fold it in."""
        record = {"event": event, "number": number, "time": round(time.time(), 3), **details}
        self._file.write(json.dumps(record, default=str) + "\n")
        self.rows.apply(record)
        return self.rows.by_number[number]

    def close(self) -> None:
        """Close the journal."""
        self._file.close()


def read_events(folder: Path) -> Iterable[dict[str, Any]]:
    """The events of a journal; a torn last line is left out."""
    path = folder / JOURNAL
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # only a crash in the middle of a write leaves such a line
            if isinstance(event, dict) and "event" in event and "number" in event:
                yield event


def read_rows(folder: Path, metric: str, mode: str) -> Rows:
    """The trials of a sweep from its journal."""
    rows = Rows(metric, mode)
    for event in read_events(folder):
        rows.apply(event)
    return rows

"""What a sweep knows and decides while it runs: each trial has a journal line, a run and an end.

The adapters to Tune (`searcher`, `tune_adapter`) ask here at each suggestion and each report.
MLflow is written from one thread beside the loop, in order, so that a slow store does not make
trials wait.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..platform.errors import UserError
from ..platform.tracking.background import Background
from ..platform.tracking.store import Store
from ..platform.tracking.writer import MetricWriter
from .budget import Budget
from .journal import Journal
from .rows import TrialRow
from .search.proposers import Proposer
from .search.space import Space, trial_seed
from .stopping.judge import Judge
from .table import trial_line

logger = logging.getLogger("paceline.tuning")
Answer = Literal["go_on", "stop", "wait"]
HANG_GRACE_S = 15.0  # what a trial may take beyond its limit to end by itself


@dataclass(frozen=True)
class Frame:
    """What stays the same over a sweep.

    Args:
        name: The sweep's name.
        folder: Its folder.
        run_id: MLflow's parent run.
        seed: The sweep's seed.
        space: Its space.
        budget: Its limits.
        stops_diverged: Whether a trial whose score is no finite number is stopped.
        trial_time_s: Seconds that one trial may take; None: no limit.
        horizon: Where a trial ends on the time axis.
    """

    name: str
    folder: Path
    run_id: str
    seed: int
    space: Space
    budget: Budget
    stops_diverged: bool
    trial_time_s: float | None = None
    horizon: float = math.inf


class Monitor:
    """Keeps the record of a sweep and answers what becomes of each trial.

    Args:
        frame: What stays the same.
        store: MLflow's store, open.
        journal: The sweep's journal and rows.
        proposer: What its trials are.
        judge: Who is stopped early.
        waiting: Numbers of trials that had begun and go on now, after an interruption.
    """

    def __init__(
        self,
        frame: Frame,
        store: Store,
        journal: Journal,
        proposer: Proposer,
        judge: Judge,
        waiting: list[int] | None = None,
    ):
        self.frame, self.store = frame, store
        self.journal, self.rows = journal, journal.rows
        self.proposer, self.judge = proposer, judge
        self.fatal: UserError | None = None
        self._unfinished = list(waiting or ())
        self._reasons: dict[int, tuple[str, str]] = {}  # why a trial is being stopped, by number
        self._hung: dict[int, str] = {}
        self.progress = MetricWriter(store.uri, frame.run_id)  # the best so far, over epochs spent
        self.background = Background("The record of a trial")

    # What the searcher asks.

    def may_begin(self) -> bool:
        """Whether another trial may be suggested."""
        if self.fatal is not None:
            return False
        if self._unfinished:
            return not self.frame.budget.is_late(time.time())
        # A searcher may find on the way that it has nothing more to propose.
        has_more = len(self.rows) < self.proposer.count
        return has_more and self.frame.budget.may_begin(self.rows, time.time())

    def begin(self) -> dict[str, Any] | None:
        """Begin the next trial, or let one that was interrupted go on.

        Returns:
            What the actor needs to know of it; None: the proposer wants to see results first.
        """
        if self._unfinished:
            return self._suggestion(self.rows.by_number[self._unfinished.pop(0)])
        number = len(self.rows)
        values = self.proposer.propose(number)
        if values is None:
            return None
        seed, origin = trial_seed(self.frame.seed, number), self.proposer.origin(number)
        self.journal.write("begin", number, values=values, seed=seed, origin=origin)
        row = self.rows.by_number[number]
        run_id = self.store.create_run(
            self.trial_name(row), parent=self.frame.run_id, tags=trial_tags(row)
        )
        self.journal.write("run", number, run_id=run_id)
        return self._suggestion(row)

    def trial_name(self, row: TrialRow) -> str:
        """The name of a trial's run."""
        return f"{self.frame.name}-{row.trial_id}"

    def _suggestion(self, row: TrialRow) -> dict[str, Any]:
        assignments = self.frame.space.assignments(row.values)
        return {
            "number": row.number,
            "run_id": row.run_id,
            "assignments": {**assignments, "seed_everything": row.seed},
            "rungs": [*self.judge.rungs(row.number)],
            "attempt": row.attempt + 1,
            "spent": row.spent,
        }

    # What Tune tells.

    def start(self, number: int) -> None:
        """An actor begins to train a trial."""
        self.journal.write("start", number)

    def receive(self, result: Mapping[str, Any]) -> Answer:
        """Take in what a trial sent: its reports since the last time, and perhaps its end."""
        number = result["number"]
        if reports := result.get("reports"):
            best = self.rows.best()
            head = {"number": number}
            self.journal.write_all([("report", head, report) for report in reports])
            self._tell_best(best)
        if end := result.get("end"):
            self.end(number, **end)
            return "stop"
        row = self.rows.by_number[number]
        if row.at >= self.frame.horizon:
            return "go_on"  # it has nothing left to spend, and ends by itself
        if self.fatal or not self.frame.budget.may_go_on(self.rows, time.time()):
            return self._stop(number, "budget", "the sweep's budget is spent")
        first = row.diverged_since
        if self.frame.stops_diverged and first is not None:
            since = f"no finite score since epoch {first.epoch}, step {first.step}"
            return self._stop(number, "early_stopped", f"diverged: {since}")
        return self.decide(number)

    def decide(self, number: int) -> Answer:
        """Judge a trial at every rung that it has come to."""
        row = self.rows.by_number[number]
        while row.stopped_by is None and self.judge.open_rung(number) is not None:
            if self.judge.waits_for(number) is not None:
                return "wait"
            self.judge_now(number)
        return "go_on" if row.stopped_by is None else self._stop(number, "early_stopped", "")

    def judge_now(self, number: int) -> None:
        """Judge a trial at its open rung by what is known now."""
        verdict = self.judge.verdict(number)
        if verdict is not None:
            self.journal.write("verdict", number, **verdict.as_dict())

    def _stop(self, number: int, reason: str, detail: str) -> Answer:
        self._reasons[number] = (reason, detail)
        return "stop"

    def _tell_best(self, before: TrialRow | None) -> None:
        """The best score so far, as the sweep's own metric over the epochs spent."""
        best = self.rows.best()
        if best is not None and (best is not before or best.best_epoch == best.epoch):
            self.progress.add({f"best/{self.rows.metric}": best.score}, self.rows.epochs)

    def end(
        self,
        number: int,
        status: str,
        stop_reason: str | None = None,
        error: str | None = None,
        detail: str = "",
        facts: dict[str, float] | None = None,
        fatal: dict[str, str] | None = None,
    ) -> None:
        """Give a trial its end, in the journal and in MLflow; a second end changes nothing."""
        row = self.rows.by_number[number]
        if row.is_over:
            return
        if fatal:
            self.fatal = UserError(**fatal)
        last_line = (error or "").strip().rpartition("\n")[2]
        told = {"stop_reason": stop_reason, "error": last_line, "detail": detail}
        self.journal.write("end", number, status=status, **told, facts=facts or {})
        details = {"stop_reason": stop_reason, "error": error}
        self.background.post(lambda: self.store.finish(row.run_id, status, **details))  # type: ignore[arg-type]
        logger.info("%s", trial_line(row, self.rows))
        self.proposer.tell(row)

    def stopped(self, number: int) -> None:
        """A trial was stopped as `receive` or `decide` asked."""
        reason, detail = self._reasons.get(number, ("early_stopped", ""))
        self.end(number, "finished", reason, detail=detail)

    def died(self, number: int, text: str) -> None:
        """The process of a trial ended under it: out of memory, killed, or a fault below us."""
        hung = self._hung.get(number)
        self.end(number, "failed", error=hung or text, detail=hung or "its process died")

    def hung(self, now: float) -> list[int]:
        """Trials that did not end by themselves after their time limit; each is named once."""
        limit = self.frame.trial_time_s
        if limit is None:
            return []
        found = [
            row.number
            for row in self.rows
            if row.status == "running"
            and row.number not in self._hung
            and row.begun_at is not None
            and now - row.begun_at > max(0.0, limit - row.spent) + HANG_GRACE_S
        ]
        for number in found:
            self._hung[number] = f"HungTrial: no end {HANG_GRACE_S:.0f} s after {limit:g} s"
        return found

    def kill_all(self) -> None:
        """Give every trial that is not over its end, because the sweep is."""
        for row in self.rows:
            if not row.is_over:
                self.end(row.number, "killed")

    def close(self) -> None:
        """Wait until all has been written."""
        self.background.close()
        self.progress.close()
        self.journal.close()


def trial_tags(row: TrialRow) -> dict[str, str]:
    """The tags by which a trial's run is known."""
    values = row.values.items()
    knobs = {f"knob.{k}": v if isinstance(v, str) else json.dumps(v) for k, v in values}
    return {"paceline.trial": str(row.number), "paceline.origin": row.origin, **knobs}

"""What a sweep knows and decides while it runs: each trial has a journal line, a run and an end.

The adapters to Tune (`searcher`, `tune_adapter`) ask here at each suggestion and each report.
MLflow is written from one thread beside the loop, in order, so that a slow store does not make
trials wait.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Literal

from ..platform.errors import UserError
from ..platform.tracking.background import Background
from ..platform.tracking.store import Store
from ..platform.tracking.writer import MetricWriter
from .births import Births
from .frame import Frame, suggestion
from .hangs import Hangs
from .journal import Journal
from .population.lineage_record import Lineage
from .rows import TrialRow
from .search.proposers import Proposer
from .search.space import trial_seed
from .stopping.judge import Judge
from .table import trial_line
from .trial_ends import End, told_divergence, trial_tags
from .trial_folder import folder_of
from .waiting import Waiting

logger = logging.getLogger("paceline.tuning")
Answer = Literal["go_on", "stop", "wait"]
SPENT = "the sweep's budget is spent"


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
        self.waiting = Waiting(judge, waiting or ())
        self._reasons: dict[int, End | None] = {}  # why a trial is being stopped; None: it leaves
        self.hangs = Hangs(journal.rows, frame.trial_time_s)
        # The best so far, over epochs spent.
        self.progress = MetricWriter(store.uri, frame.run_id, frame.folder)
        self.background = Background("The record of a trial")
        self.births = Births(self._create_run)
        self.lineage = Lineage(frame.folder, store, frame.run_id, journal.rows, self.background)

    # What the searcher asks.

    def may_begin(self) -> bool:
        """Whether another trial may be suggested."""
        if self.fatal is not None:
            return False
        if self.waiting.settle(self._goes_on):
            self.lineage.write(self.judge)
        if self.waiting or self._unborn() is not None:
            return not self.frame.budget.is_late(time.time())
        # A searcher may find on the way that it has nothing more to propose.
        has_more = len(self.rows) < self.proposer.count
        return has_more and self.frame.budget.may_begin(self.rows, time.time())

    def is_over(self) -> bool:
        """Whether no trial will be suggested any more; one that runs may come back to go on."""
        is_late = self.frame.budget.is_late(time.time())
        return self.fatal is not None or is_late or all(row.is_over for row in self.rows)

    def begin(self) -> dict[str, Any] | None:
        """Begin the next trial, or let one that was interrupted go on.

        Returns:
            What the actor needs to know of it; None: the proposer wants to see results first, or
            the store that gives runs their ids is away.
        """
        if self.waiting and not self._is_filling():
            row = self.rows.by_number[self.waiting.take()]
            return suggestion(row, self.frame.space, self.judge)
        row = self._unborn() or self._propose()
        if row is None or (run_id := self.births.run_of(row)) is None:
            return None
        self.journal.write("run", row.number, run_id=run_id)
        return suggestion(row, self.frame.space, self.judge)

    def _is_filling(self) -> bool:
        """Whether members of a population have yet to begin: who waits at a rung lets them first.

        Else the first members would have trained out before the last had anybody to copy them.
        """
        has_more = self.judge.leaves_at_rungs and len(self.rows) < self.proposer.count
        return has_more and self.frame.budget.may_begin(self.rows, time.time())

    def _unborn(self) -> TrialRow | None:
        """The trial that has no run yet, because the store is away."""
        return next((row for row in self.rows if not row.run_id and not row.is_over), None)

    def _propose(self) -> TrialRow | None:
        number = len(self.rows)
        values = self.proposer.propose(number)
        if values is None:
            return None
        seed, origin = trial_seed(self.frame.seed, number), self.proposer.origin(number)
        self.journal.write("begin", number, values=values, seed=seed, origin=origin)
        return self.rows.by_number[number]

    def _create_run(self, row: TrialRow) -> str:
        name, tags = self.trial_name(row), trial_tags(row)
        return self.store.create_run(name, parent=self.frame.run_id, tags=tags)

    def trial_name(self, row: TrialRow) -> str:
        """The name of a trial's run."""
        return f"{self.frame.name}-{row.trial_id}"

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
        if again := result.get("again"):
            self.journal.write("again", number, **again)
            run_id = self.rows.by_number[number].run_id
            self.background.post(lambda: self.store.reopen(run_id))
            return "go_on"
        if diverged := result.get("diverged"):
            self.journal.write("diverged", number, **diverged)
        if end := result.get("end"):
            self.end(number, **end)
            return "stop"
        row = self.rows.by_number[number]
        if row.at >= self.frame.horizon or row.is_finishing:
            return "go_on"  # it has nothing left to spend, and ends by itself
        if self.fatal or not self.frame.budget.may_go_on(self.rows, time.time()):
            return self._stop(number, End("finished", "budget", detail=SPENT))
        if self.frame.nan != "go_on" and (told := told_divergence(row)):
            return self._diverged(number, told)
        return self.decide(number)

    def _diverged(self, number: int, told: str) -> Answer:
        """What becomes of a trial whose loss is no number: a member of a population may copy."""
        if self.frame.nan == "fail":
            return self._stop(number, End("failed", error=f"Diverged: {told}", detail=told))
        if self.judge.leaves_at_rungs and self.judge.open_rung(number) is not None:
            return self._stop(number, None)
        return self._stop(number, End("finished", "early_stopped", detail=f"diverged: {told}"))

    def decide(self, number: int) -> Answer:
        """Judge a trial at every rung that it has come to."""
        row = self.rows.by_number[number]
        while row.stopped_by is None and self.judge.open_rung(number) is not None:
            if self.judge.leaves_at_rungs:
                return self._stop(number, None)
            if self.judge.waits_for(number) is not None:
                return "wait"
            self.judge_now(number)
        if row.stopped_by is None:
            return "go_on"
        return self._stop(number, End("finished", "early_stopped"))

    def judge_now(self, number: int) -> None:
        """Judge a trial at its open rung by what is known now."""
        verdict = self.judge.verdict(number)
        if verdict is not None:
            self.journal.write("verdict", number, **verdict.as_dict())

    def _goes_on(self, number: int) -> bool:
        """Judge a trial that waits at a rung, and tell whether it goes on."""
        row = self.rows.by_number[number]
        self.judge_now(number)
        if row.stopped_by is not None:
            detail = f"diverged: {told_divergence(row)}" if told_divergence(row) else ""
            self.end(number, "finished", "early_stopped", detail=detail)
        elif row.copies and row.copies[-1].rung == row.verdicts[-1].rung:
            self.lineage.tell(row)
        return row.stopped_by is None

    def _stop(self, number: int, end: End | None) -> Answer:
        self._reasons[number] = end
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
        # What a process that died left on its way is uploaded with the end.
        folder = folder_of(self.frame.folder, number)
        details = {"stop_reason": stop_reason, "error": error, "folder": folder}
        if row.run_id:  # none while the store was away when it was to begin
            self.background.post(lambda: self.store.finish(row.run_id, status, **details))  # type: ignore[arg-type]
        logger.info("%s", trial_line(row, self.rows))
        self.proposer.tell(row)

    def stopped(self, number: int) -> None:
        """A trial was stopped as `receive` or `decide` asked: it has ended, or left its place."""
        end = self._reasons.pop(number, End("finished", "early_stopped"))
        if self.rows.by_number[number].is_over:
            return
        if end is not None:
            self.end(number, **end._asdict())
            return
        self.journal.write("pause", number)
        self.waiting.add(number)

    def died(self, number: int, text: str) -> None:
        """The process of a trial ended under it: out of memory, killed, or a fault below us.

        It goes on from its latest checkpoint, in its own run, while that has not happened too
        often; one that hung has had its time.
        """
        row, hung = self.rows.by_number[number], self.hangs.why(number)
        limit, failures = self.frame.max_failures, row.failures + 1
        if hung or row.is_over or self.fatal or failures > limit >= 0:
            times = f", {failures} times" if failures > 1 else ""
            detail = hung or f"its process died{times}"
            self.end(number, "failed", error=hung or text, detail=detail)
            return
        line = text.strip().rpartition("\n")[2]
        self.journal.write("crash", number, error=line)
        logger.warning("Trial %s goes on after its process died: %s", row.trial_id, line)
        self.background.post(lambda: self.store.reopen(row.run_id))
        self.waiting.add(number)

    def kill_all(self) -> None:
        """Give every trial that is not over its end, because the sweep is."""
        is_late = self.frame.budget.is_late(time.time())
        for row in self.rows:
            if is_late and row.is_paused:  # at a rung, when the time was up
                self.end(row.number, "finished", "budget", detail=SPENT)
            elif not row.is_over:
                self.end(row.number, "killed")

    def close(self) -> None:
        """Wait until all has been written."""
        self.lineage.write(self.judge)
        self.births.close()
        self.background.close()
        self.progress.close()
        self.journal.close()

"""When a trial is judged, and beside whom.

In order: a trial is compared with those of a smaller number only, and waits at a rung until each of
them has come there or ended. Every verdict is then a function of the trials alone, so a sweep is
the same at one worker and at many, interrupted or not; it is the sweep that one worker would have
made. Out of order: a trial is compared with whoever was there before it, and nobody waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..rows import Rows, TrialRow
from .rules import Rule
from .verdict import Verdict


class Judge:
    """Judges the trials of a sweep at their rungs.

    Args:
        rule: The stopping rule; None stops nobody.
        rows: The sweep's trials.
        in_order: See the module.
    """

    def __init__(self, rule: Rule | None, rows: Rows, *, in_order: bool):
        self.rule, self.rows, self.in_order = rule, rows, in_order

    @property
    def leaves_at_rungs(self) -> bool:
        """Whether trials leave their place at each rung, and go on from there later."""
        return False

    def rungs(self, number: int) -> Sequence[float]:
        """Where a trial is judged."""
        return () if self.rule is None else self.rule.rungs(number)

    def open_rung(self, number: int) -> float | None:
        """The first rung that a trial has come to and was not judged at yet."""
        row = self.rows.by_number[number]
        judged = {verdict.rung for verdict in row.verdicts}
        return next((r for r in self.rungs(number) if r <= row.at and r not in judged), None)

    def waits_for(self, number: int) -> int | None:
        """The trial whose coming to the open rung must be waited for; None: it can be judged."""
        rung = self.open_rung(number)
        if rung is None or not self.in_order:
            return None
        return next((r.number for r in self._rivals(number) if not r.is_over and r.at < rung), None)

    def verdict(self, number: int) -> Verdict | None:
        """What becomes of a trial at its open rung, judged by what is known now; None: no rung."""
        rung = self.open_rung(number)
        if rung is None or self.rule is None:
            return None
        row = self.rows.by_number[number]
        mine = row.report_at(rung)
        assert mine is not None, "the trial has come to its open rung"
        reached = [(rival, rival.report_at(rung)) for rival in self._rivals(number)]
        before = [
            rival
            for rival, report in reached
            if report is not None and (self.in_order or report.order < mine.order)
        ]
        return self.rule.judge(row, rung, before)

    def _rivals(self, number: int) -> list[TrialRow]:
        """Those it is compared with: of a smaller number when in order."""
        assert self.rule is not None
        return [
            row
            for row in self.rows
            if row.number != number
            and (row.number < number or not self.in_order)
            and self.rule.are_rivals(row.number, number)
        ]

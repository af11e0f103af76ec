"""When the members of a population are compared, and with whom. Pure.

In order: at a rung all members are compared at once, so each waits there for the others. Who copies
whom is then a function of the scores and the seed, the same at any number of workers and after any
interruption. Out of order: a member is compared with those that were there before it, and nobody
waits; how the members followed each other then decides, too, and that no seed repeats.

A member that waits holds no place: a population may be larger than what runs at a time.
"""

from __future__ import annotations

from ..rows import Rows, TrialRow
from ..stopping.judge import Judge
from ..stopping.rules import Rule
from ..stopping.verdict import Verdict
from .rule import PopulationRule, is_lost


class PopulationJudge(Judge):
    """Judges the members of a population at their rungs.

    Args:
        rule: Who copies whom.
        rows: The sweep's trials.
        in_order: See the module.
    """

    def __init__(self, rule: PopulationRule, rows: Rows, *, in_order: bool):
        super().__init__(rule, rows, in_order=in_order)
        self.population = rule

    @property
    def leaves_at_rungs(self) -> bool:
        """Members leave their place at each rung."""
        return True

    def open_rung(self, number: int) -> float | None:
        """The last rung that a member has come to, unless it was judged there.

        One that diverged is judged at the next rung, as if it had come there; with no rung before
        it, never.
        """
        row = self.rows.by_number[number]
        judged = row.verdicts[-1].rung if row.verdicts else 0.0
        ahead = [rung for rung in self.rungs(number) if rung > judged]
        reached = [rung for rung in ahead if rung <= row.at]
        if reached:
            return reached[-1]
        return ahead[0] if ahead and is_lost(row) else None

    def waits_for(self, number: int) -> int | None:
        """The member that has not come to the open rung yet; it may not have begun either."""
        rung = self.open_rung(number)
        if rung is None or not self.in_order:
            return None
        late = [r.number for r in self.rows if not r.is_over and not self._has_come(r, rung)]
        if late:
            return late[0]
        return len(self.rows) if len(self.rows) < self.population.size else None

    def verdict(self, number: int) -> Verdict | None:
        """Whether a member goes on as itself or as a copy at its open rung; None: no rung."""
        rung = self.open_rung(number)
        if rung is None:
            return None
        rivals = [r for r in self.rows if r.number != number and self._has_come(r, rung)]
        return self.population.judge(self.rows.by_number[number], rung, rivals)

    def _has_come(self, row: TrialRow, rung: float) -> bool:
        if row.verdict_at(rung) is not None or row.report_at(rung) is not None:
            return True
        return not row.is_over and is_lost(row) and (self.open_rung(row.number) or 0.0) >= rung


def make_judge(rule: Rule | None, rows: Rows, *, in_order: bool) -> Judge:
    """Who judges the trials of a sweep by its rule."""
    if isinstance(rule, PopulationRule):
        return PopulationJudge(rule, rows, in_order=in_order)
    return Judge(rule, rows, in_order=in_order)

"""The rules by which bad trials are stopped early: halving, brackets of it, and the median.

A rule says at which rungs of the time axis a trial is judged, by which number, against which number
of each rival, and how many of them may go on. It sees plain rows and keeps no state, so a sweep
that goes on after a crash judges as it would have done without.

Halving: asynchronous successive halving (Li et al., "A System for Massively Parallel
Hyperparameter Tuning", 2020, section 3): rungs at r, r*eta, r*eta^2, ...; of those that reached one
so far, the best 1/eta go on. Hyperband: the same in brackets with later first rungs, for curves
that cross (section 3.3 there; Li et al., "Hyperband", 2018, section 3). Median: a trial goes on
while its best score is no worse than the median of the others' running means (Golovin et al.,
"Google Vizier", 2017, section 3.2.2).
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ...platform.configuration.options import Sweep
from ..rows import TrialRow, is_better
from .verdict import Verdict

UNBOUNDED = 1000.0  # Lightning's own limit of epochs when a config gives none
MIN_RIVALS = 3  # a median of fewer says little
NUM_RUNGS = 2  # well below the horizon, where a config does not say


class Rule(Protocol):
    """When a trial is judged and by what."""

    @property
    def name(self) -> str:
        """What its verdicts are signed with."""
        ...

    def rungs(self, number: int) -> Sequence[float]:
        """Where on the time axis trial `number` is judged, ascending; never at the end of it."""
        ...

    def are_rivals(self, a: int, b: int) -> bool:
        """Whether two trials are compared with each other."""
        ...

    def judge(self, row: TrialRow, rung: float, rivals: Sequence[TrialRow]) -> Verdict:
        """What becomes of a trial that reached a rung, beside rivals that reached it too."""
        ...


def geometric(grace: float, factor: int, horizon: float) -> list[float]:
    """Rungs grace, grace * factor, ... below the horizon, where there is nothing left to save."""
    found, rung = [], float(grace)
    while rung < horizon:
        found.append(rung)
        rung *= factor
    return found


@dataclass(frozen=True)
class Halving:
    """One bracket of asynchronous successive halving.

    Args:
        grace: The first rung.
        factor: One of this many goes on at each rung (eta).
        horizon: End of the time axis.
        mode: `min` or `max`.
        name: What verdicts are signed with.
    """

    grace: float
    factor: int
    horizon: float
    mode: str
    name: str = "asha"

    def rungs(self, number: int) -> list[float]:
        """The same for every trial."""
        return geometric(self.grace, self.factor, self.horizon)

    def are_rivals(self, a: int, b: int) -> bool:
        """All are."""
        return True

    def judge(self, row: TrialRow, rung: float, rivals: Sequence[TrialRow]) -> Verdict:
        """The best 1/eta of those that came so far go on, rounded up.

        The paper rounds down, and lets a trial that was held back go on when others come later. One
        that stops is not asked again, so the few that come first are given the doubt: over six
        sweeps of 48 trials the best was kept in five, and in two when rounding down, for a quarter
        more epochs.
        """
        value = _score(row, rung)
        others = sorted((_score(r, rung) for r in rivals), key=lambda v: _key(v, self.mode))
        rank = 1 + sum(_key(v, self.mode) < _key(value, self.mode) for v in others)
        keep = math.ceil((len(others) + 1) / self.factor)
        stops = rank > keep or not math.isfinite(value)
        cutoff = others[keep - 1] if len(others) >= keep else None
        return Verdict(self.name, rung, value, cutoff, rank, len(others) + 1, stops)


@functools.cache
def bracket_cycle(num_brackets: int, factor: int) -> tuple[int, ...]:
    """The bracket of each trial of one round of Hyperband, which is then repeated.

    A bracket gets as many trials as Hyperband starts in it, spread evenly over the round: whenever
    a sweep ends, each has had about its share.
    """
    s_max = num_brackets - 1
    # Bracket 0 judges the earliest; it is s = s_max in the paper's numbering.
    shares = [math.ceil(num_brackets * factor**s / (s + 1)) for s in range(s_max, -1, -1)]
    given, cycle = [0] * num_brackets, []
    for _ in range(sum(shares)):
        chosen = min(range(num_brackets), key=lambda b: ((given[b] + 1) / shares[b], b))
        given[chosen] += 1
        cycle.append(chosen)
    return tuple(cycle)


@dataclass(frozen=True)
class Hyperband:
    """Brackets of halving, each with a later first rung; the trial's number picks one.

    As many trials take a bracket as Hyperband gives it: the most that which judges the earliest.

    Args:
        grace: The first rung of the first bracket.
        factor: As in `Halving`.
        horizon: End of the time axis.
        mode: `min` or `max`.
    """

    grace: float
    factor: int
    horizon: float
    mode: str
    name: str = "hyperband"

    @property
    def num_brackets(self) -> int:
        """One for each rung, and one whose trials run to the end."""
        return len(geometric(self.grace, self.factor, self.horizon)) + 1

    def bracket(self, number: int) -> int:
        """0, which judges the earliest, to `num_brackets - 1`, which judges never."""
        cycle = bracket_cycle(self.num_brackets, self.factor)
        return cycle[number % len(cycle)]

    def rungs(self, number: int) -> list[float]:
        """Those of its bracket."""
        return self._halving(self.bracket(number)).rungs(number)

    def are_rivals(self, a: int, b: int) -> bool:
        """Those of one bracket."""
        return self.bracket(a) == self.bracket(b)

    def judge(self, row: TrialRow, rung: float, rivals: Sequence[TrialRow]) -> Verdict:
        """As in `Halving`, among the bracket's own."""
        return self._halving(self.bracket(row.number)).judge(row, rung, rivals)

    def _halving(self, bracket: int) -> Halving:
        grace = self.grace * self.factor**bracket
        return Halving(grace, self.factor, self.horizon, self.mode, self.name)


@dataclass(frozen=True)
class Median:
    """Stops a trial whose best score is worse than the median of the others' running means.

    Args:
        grace: Where it is judged first, and how far apart the later rungs are.
        horizon: End of the time axis.
        mode: `min` or `max`.
    """

    grace: float
    horizon: float
    mode: str
    name: str = "median"

    def rungs(self, number: int) -> list[float]:
        """Every `grace` of the time axis."""
        count = math.ceil(self.horizon / self.grace) - 1
        return [self.grace * i for i in range(1, count + 1)]

    def are_rivals(self, a: int, b: int) -> bool:
        """All are."""
        return True

    def judge(self, row: TrialRow, rung: float, rivals: Sequence[TrialRow]) -> Verdict:
        """Best so far against the median of the means so far; three rivals at least."""
        value = _best(row, rung, self.mode)
        means = [_mean(rival, rung) for rival in rivals]
        means = sorted((m for m in means if math.isfinite(m)), key=lambda m: _key(m, self.mode))
        rank = 1 + sum(_key(m, self.mode) < _key(value, self.mode) for m in means)
        cutoff = statistics.median(means) if len(means) >= MIN_RIVALS else None
        is_worse = cutoff is not None and _key(value, self.mode) > _key(cutoff, self.mode)
        stops = is_worse or not math.isfinite(value)
        return Verdict(self.name, rung, value, cutoff, rank, len(means) + 1, stops)


def _score(row: TrialRow, rung: float) -> float:
    report = row.report_at(rung)
    return math.nan if report is None else report.score


def _upto(row: TrialRow, rung: float) -> list[float]:
    reached = row.report_at(rung)
    end = math.inf if reached is None else reached.at
    return [report.score for report in row.history if report.at <= end]


def _best(row: TrialRow, rung: float, mode: str) -> float:
    best: float | None = None
    for value in _upto(row, rung):
        best = value if is_better(value, best, mode) else best
    return math.nan if best is None else best


def _mean(row: TrialRow, rung: float) -> float:
    scores = [value for value in _upto(row, rung) if math.isfinite(value)]
    return statistics.fmean(scores) if scores else math.nan


def _key(value: float, mode: str) -> float:
    """A score as a number of which the smaller is better; what is no number is the worst."""
    if not math.isfinite(value):
        return math.inf
    return value if mode == "min" else -value


def make_rule(sweep: Sweep, horizon: float | None) -> Rule | None:
    """The rule that a config asks for; None when nothing is stopped, a population has its own.

    Args:
        sweep: The config's section.
        horizon: End of the time axis; None: unknown.
    """
    end, grace = horizon or UNBOUNDED, first_rung(sweep, horizon)
    if sweep.scheduler in ("none", "pbt") or grace >= end:
        return None
    if sweep.scheduler == "median":
        return Median(grace, end, sweep.mode)
    kind = Halving if sweep.scheduler == "asha" else Hyperband
    return kind(grace, sweep.reduction_factor, end, sweep.mode)


def first_rung(sweep: Sweep, horizon: float | None) -> float:
    """Where trials are judged first: what the config says, or late enough to say something.

    After 1 of 80 epochs a strongly regularised trial is behind whatever it will come to, and after
    1 of 25 a warm-up has not ended: on both, halving chose whoever learned fastest.
    """
    if sweep.grace is not None:
        return sweep.grace
    return max(1.0, round((horizon or 1.0) / sweep.reduction_factor**NUM_RUNGS))

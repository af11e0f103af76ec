"""A sweep played through without training: who runs when, who is stopped, when it ends. Pure.

The trials have scores that nobody knows, so they are drawn. All else is the sweep's own: its rows,
its judge and rule, its budget, and the number of places. A trial that waits at a rung for others
holds its place, as in a real sweep.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..budget import Budget
from ..rows import Rows
from ..stopping.judge import Judge


@dataclass(frozen=True)
class Pace:
    """How fast a trial trains.

    Args:
        overhead_s: Seconds before and after its training.
        per_unit_s: Seconds for one unit of the time axis, validations and checkpoints included.
    """

    overhead_s: float
    per_unit_s: float

    def seconds(self, units: float) -> float:
        """A trial of so many units."""
        return self.overhead_s + units * self.per_unit_s


@dataclass
class Played:
    """How it went.

    Args:
        seconds: From the first start to the last end.
        units: Units of the time axis that all trials trained together.
        trials: How many began.
        stopped_at: Rung -> how many ended there.
        completed: How many came to the horizon.
        cut: How many the budget ended.
    """

    seconds: float = 0.0
    units: float = 0.0
    trials: int = 0
    stopped_at: Counter[float] = field(default_factory=Counter)
    completed: int = 0
    cut: int = 0

    def times(self, factor: float) -> Played:
        """A sweep of so many times as many trials, as this one goes on."""
        stopped = Counter({rung: round(n * factor) for rung, n in self.stopped_at.items()})
        counts = self.trials, self.completed, self.cut
        trials, completed, cut = (round(count * factor) for count in counts)
        return Played(self.seconds * factor, self.units * factor, trials, stopped, completed, cut)


class Simulation:
    """One sweep that is played through once.

    Args:
        judge_of: Makes the judge over the rows.
        paces: How fast each trial trains, by number.
        scores: The score of each trial, the smaller the better.
        width: How many trials run at a time.
        horizon: End of the time axis.
        budget: The sweep's limits; its deadline counts from the first start.
        epochs_per_unit: Epochs in a unit of the time axis.
        mode: `min` or `max`.
    """

    def __init__(
        self,
        judge_of: Callable[[Rows], Judge],
        paces: Sequence[Pace],
        scores: Sequence[float],
        *,
        width: int,
        horizon: float,
        budget: Budget,
        epochs_per_unit: float = 1.0,
        mode: str = "min",
    ):
        self.rows = Rows("score", mode)
        self.judge, self.budget = judge_of(self.rows), budget
        self.paces, self.scores = paces, scores if mode == "min" else [-s for s in scores]
        self.free, self.horizon, self.epochs_per_unit = width, horizon, epochs_per_unit
        self.now = 0.0
        self.played = Played()
        self._arrivals: list[tuple[float, int, float]] = []  # when, who, where on the axis
        self._waiting: set[int] = set()

    def run(self) -> Played:
        """Play it."""
        self._begin()
        while self._arrivals:
            self.now, number, at = heapq.heappop(self._arrivals)
            self._arrive(number, at)
            self._settle()
            self._begin()
        self.played.seconds, self.played.trials = self.now, len(self.rows)
        return self.played

    def _begin(self) -> None:
        """Start trials while there are places and the budget allows."""
        while self.free and len(self.rows) < len(self.paces):
            if not self.budget.may_begin(self.rows, self.now):
                return
            number = len(self.rows)
            self.rows.apply({"event": "begin", "number": number, "values": {}})
            self.rows.apply({"event": "start", "number": number, "time": self.now})
            self.free -= 1
            self._go_on(number, 0.0, self.paces[number].overhead_s)

    def _go_on(self, number: int, at: float, extra_s: float = 0.0) -> None:
        """A trial trains on, to its next rung or to the end."""
        rungs = [rung for rung in self.judge.rungs(number) if rung > at]
        target = min([*rungs, self.horizon])
        there = self.now + extra_s + (target - at) * self.paces[number].per_unit_s
        deadline = self.budget.deadline
        if deadline is not None and there > deadline:
            per_unit = self.paces[number].per_unit_s or math.inf
            target = at + max(0.0, deadline - self.now - extra_s) / per_unit
            there = max(deadline, self.now)
        heapq.heappush(self._arrivals, (there, number, target))

    def _arrive(self, number: int, at: float) -> None:
        """A trial has come to a rung, to its end or to the deadline."""
        epoch = max(1, math.ceil(at * self.epochs_per_unit - 1e-9))
        metrics = {"score": self.scores[number]}
        report = {"event": "report", "number": number, "time": self.now, "metrics": metrics}
        self.rows.apply({**report, "epoch": epoch, "at": at, "step": 0})
        if at >= self.horizon:
            self.played.completed += 1
            self._end(number, "completed")
        elif self.budget.is_late(self.now):
            self.played.cut += 1
            self._end(number, "budget")
        else:
            self._waiting.add(number)

    def _settle(self) -> None:
        """Judge whoever can be judged, until nobody is left who can."""
        moved = True
        while moved:
            moved = False
            for number in sorted(self._waiting):
                if self.judge.waits_for(number) is None:
                    self._waiting.discard(number)
                    self._judge(number)
                    moved = True

    def _judge(self, number: int) -> None:
        row, verdict = self.rows.by_number[number], self.judge.verdict(number)
        if verdict is not None:
            self.rows.apply({"event": "verdict", "number": number, **verdict.as_dict()})
        if verdict is not None and verdict.stops:
            self.played.stopped_at[verdict.rung] += 1
            self._end(number, "early_stopped")
        elif not self.budget.may_go_on(self.rows, self.now):
            self.played.cut += 1
            self._end(number, "budget")
        else:
            self._go_on(number, row.at)

    def _end(self, number: int, reason: str) -> None:
        end = {"event": "end", "number": number, "status": "finished", "stop_reason": reason}
        self.rows.apply({**end, "time": self.now})
        self.played.units += self.rows.by_number[number].at
        self.free += 1


def population_seconds(
    paces: Sequence[Pace], rungs: Sequence[float], horizon: float, width: int
) -> float:
    """How long a population takes: nobody is stopped, and each rung is a meeting of all.

    Args:
        paces: How fast each member trains.
        rungs: Where all are compared.
        horizon: End of the time axis.
        width: How many train at a time.
    """
    ends, seconds = [*rungs, horizon], 0.0
    for begin, end in zip([0.0, *rungs], ends, strict=True):
        places = [0.0] * min(width, len(paces))
        for pace in paces:  # each takes the place that comes free first
            free = heapq.heappop(places)
            heapq.heappush(places, free + pace.seconds(end - begin))
        seconds += max(places)
    return seconds

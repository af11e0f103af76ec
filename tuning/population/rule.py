"""Population based training as a rule over the trials' rows: exploit and explore. Pure; no Ray.

Every `interval` of the time axis the members of a population are compared (Jaderberg et al.,
"Population Based Training of Neural Networks", 2017). Who is among the worst share goes on as a
copy of one of the best share, drawn evenly (truncation selection, section 4.1.1 there): with its
weights and its optimizer's state, and with its hyperparameters changed a little (`explore`).

Deviation. In the paper a member copies another one as it is at that moment. Here it copies it as it
was at the same rung: the time axis of a copy stays true, and which copies are made depends on the
seed and on the rungs' scores alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...platform.configuration.options import Sweep
from ..search.space import Space, unit
from ..stopping.rules import UNBOUNDED
from ..stopping.verdict import Verdict
from ..trial_row import TrialRow
from .explore import Exploration

NUM_INTERVALS = 10  # so many to the horizon, where a config does not say


@dataclass(frozen=True)
class PopulationRule:
    """Who copies whom.

    Args:
        size: How many members the population has.
        interval: From one rung to the next, on the time axis.
        horizon: End of the time axis.
        mode: `min` or `max`.
        quantile: The share that copies, and the share that is copied.
        seed: The sweep's seed.
        exploration: How a copy's hyperparameters change.
        name: What verdicts are signed with.
    """

    size: int
    interval: float
    horizon: float
    mode: str
    quantile: float
    seed: int
    exploration: Exploration
    name: str = "pbt"

    def rungs(self, number: int) -> list[float]:
        """Every interval below the horizon, where a copy would have nothing left to train."""
        count = math.ceil(self.horizon / self.interval) - 1
        return [self.interval * i for i in range(1, count + 1)]

    def are_rivals(self, a: int, b: int) -> bool:
        """All are."""
        return True

    def judge(self, row: TrialRow, rung: float, rivals: Sequence[TrialRow]) -> Verdict:
        """Whether a member goes on as itself or as a copy, beside others that came to the rung.

        One whose loss is no finite number always copies a better one; where none has a finite
        score, it ends.
        """
        order = sorted([row, *rivals], key=lambda r: (self._badness(r, rung), r.number))
        values = [score_at(member, rung) for member in order]
        rank, count = 1 + order.index(row), self.num_copied(len(order))
        value = values[rank - 1]
        head = (self.name, rung, value, values[-count - 1] if count else None, rank, len(order))
        is_lost = not math.isfinite(value)
        best = [m for m in order[: max(count, int(is_lost))] if math.isfinite(score_at(m, rung))]
        if not is_lost and (rank <= len(order) - count or not best):
            return Verdict(*head, stops=False)
        if not best:
            return Verdict(*head, stops=True)
        donor = best[int(self._draw(row, rung, "donor") * len(best))]
        values_there = donor.values_at(rung)
        changed = self.exploration.values(values_there, lambda name: self._draw(row, rung, name))
        return Verdict(*head, stops=False, donor=donor.number, values=changed)

    def num_copied(self, count: int) -> int:
        """How many of so many members copy others; as many are copied."""
        return min(max(1, int(count * self.quantile + 1e-9)), count // 2)

    def _badness(self, row: TrialRow, rung: float) -> float:
        value = score_at(row, rung)
        if not math.isfinite(value):
            return math.inf
        return value if self.mode == "min" else -value

    def _draw(self, row: TrialRow, rung: float, name: str) -> float:
        return unit(self.seed, row.number, f"pbt/{rung:.12g}/{name}")


def score_at(row: TrialRow, rung: float) -> float:
    """A member's score at a rung: what it was judged by, or what it came there with.

    One that diverged counts as having come there, with no number: it trains no further.
    """
    verdict = row.verdict_at(rung)
    if verdict is not None:
        return verdict.value
    if is_lost(row):
        return math.nan
    report = row.report_at(rung)
    return math.nan if report is None else report.score


def is_lost(row: TrialRow) -> bool:
    """Whether a living member's loss or score has become no finite number."""
    return row.diverged_at is not None or row.diverged_since is not None


def interval_of(sweep: Sweep, horizon: float) -> float:
    """From one rung to the next: what the config says, or a tenth of the horizon."""
    asked = sweep.population.interval
    return float(max(1, round(horizon / NUM_INTERVALS))) if asked is None else asked


def bare_rule(sweep: Sweep, horizon: float | None, size: int) -> PopulationRule:
    """When members are compared, without what a copy changes: enough to look at a sweep."""
    end = horizon or UNBOUNDED
    exploration = Exploration(Space((), {}), (), 0.0, (1.0,))
    interval, quantile = interval_of(sweep, end), sweep.population.quantile
    return PopulationRule(size, interval, end, sweep.mode, quantile, 0, exploration)

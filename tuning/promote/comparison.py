"""Two configurations trained with the same seeds: which is better, and how sure that is. Pure.

A seed fixes the split, the order of the examples and the first weights, so two runs of one seed are
a pair: the differences within pairs are compared with zero by Student's t of n - 1 degrees of
freedom (paired t). Of a few seeds the interval is wide, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...platform.repeat import mean_and_interval

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Attempt:
    """One seed of a configuration.

    Args:
        seed: What it trained with.
        name: The run's name.
        run_id: MLflow's id.
        metrics: Validation metrics of the best epoch, and test metrics; empty when it failed.
        checkpoint: The best checkpoint; None without one.
        error: What it failed of, a line.
    """

    seed: int
    name: str
    run_id: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str | None = None
    error: str = ""

    def score(self, metric: str) -> float | None:
        """The metric's value; None where it is missing or no finite number."""
        value = self.metrics.get(metric, math.nan)
        return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Contender:
    """A configuration with what its seeds gave.

    Args:
        trial_id: The trial that had it.
        config: Config key -> value, where it differs from the sweep's config.
        attempts: One for each seed.
    """

    trial_id: str
    config: Mapping[str, Any]
    attempts: Sequence[Attempt]

    def failed(self, metric: str) -> list[Attempt]:
        """The seeds that gave no value of the metric."""
        return [one for one in self.attempts if one.score(metric) is None]

    def summary(self) -> dict[str, list[float]]:
        """Metric -> mean over the seeds that have it, and half-width of its 95 % interval."""
        values: dict[str, list[float]] = {}
        for attempt in self.attempts:
            for name in attempt.metrics:
                if (score := attempt.score(name)) is not None:
                    values.setdefault(name, []).append(score)
        return {name: [*mean_and_interval(v, CONFIDENCE)] for name, v in sorted(values.items())}

    def as_dict(self, metric: str) -> dict[str, Any]:
        """The contender as the JSON answer has it."""
        return {
            "trial_id": self.trial_id,
            "config": dict(self.config),
            "metrics": self.summary(),
            "seeds": [one.seed for one in self.attempts],
            "runs": [one.name for one in self.attempts],
            "run_ids": [one.run_id for one in self.attempts],
            "failed": {str(one.seed): one.error or "no value" for one in self.failed(metric)},
        }


@dataclass(frozen=True)
class Verdict:
    """Who is promoted, and how sure that is.

    Args:
        promoted: The better of the two.
        other: The other one; None where there was only one.
        margin: By how much its mean is better, in the metric's unit; NaN without pairs.
        half_width: Of the 95 % interval of that; NaN of fewer than two pairs.
        pairs: Seeds that both have a value of.
        is_upset: Whether the sweep had the other one first.
    """

    promoted: Contender
    other: Contender | None = None
    margin: float = math.nan
    half_width: float = math.nan
    pairs: int = 0
    is_upset: bool = False

    @property
    def is_sure(self) -> bool:
        """Whether the interval of the difference leaves zero out."""
        return self.pairs >= 2 and self.margin > self.half_width

    def as_dict(self, metric: str) -> dict[str, Any]:
        """The difference as the JSON answer has it."""
        return {
            "metric": metric,
            "margin": self.margin,
            "ci95": self.half_width,
            "pairs": self.pairs,
            "test": "paired t",
            "is_sure": self.is_sure,
            "is_upset": self.is_upset,
        }


def decide(winner: Contender, runner_up: Contender | None, metric: str, mode: str) -> Verdict:
    """The contender whose mean over the seeds that both have is better; the winner of equals.

    Seeds that failed count against a configuration: one without failures comes before one with
    some, whatever the means say.

    Args:
        winner: The sweep's best.
        runner_up: Its second best; None: there is none.
        metric: The deciding metric.
        mode: `min` or `max`.
    """
    if runner_up is None:
        return Verdict(winner)
    sign = 1.0 if mode == "max" else -1.0
    theirs = {one.seed: one.score(metric) for one in runner_up.attempts}
    differences = [
        sign * (mine - other)
        for one in winner.attempts
        if (mine := one.score(metric)) is not None and (other := theirs.get(one.seed)) is not None
    ]
    margin, half_width = mean_and_interval(differences) if differences else (math.nan, math.nan)
    failures = len(winner.failed(metric)), len(runner_up.failed(metric))
    if failures[0] > failures[1] or (failures[0] == failures[1] and margin < 0):
        return Verdict(runner_up, winner, -margin, half_width, len(differences), is_upset=True)
    return Verdict(winner, runner_up, margin, half_width, len(differences))


def median_attempt(contender: Contender, metric: str, mode: str) -> Attempt:
    """The seed whose model is taken: the median one, of two in the middle the worse.

    The best seed's validation score is flattered by the choice among seeds; what the median seed
    has is what the mean over the seeds promises.

    Raises:
        ValueError: No seed has a value.
    """
    scored = [
        (score, one) for one in contender.attempts if (score := one.score(metric)) is not None
    ]
    if not scored:
        raise ValueError(f"`{metric}` must have a value of at least one seed, but has none.")
    ordered = sorted(scored, key=lambda pair: (pair[0], pair[1].seed), reverse=mode == "max")
    return ordered[len(ordered) // 2][1]

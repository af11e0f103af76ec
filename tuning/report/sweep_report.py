"""What the report of a sweep is made from: its trials, and all else that its page has to say.

Everything is plain data, so a report can be written of a sweep that runs, of one that was killed,
and of one whose folder was copied from another machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...platform.result import Status
from ..rows import Rows
from ..search.space import Space


@dataclass(frozen=True)
class WinnerMetric:
    """A metric of the best configuration, trained again with several seeds.

    Args:
        name: The metric.
        mean: Over the seeds.
        half_width: Half the width of the mean's 95 % confidence interval; NaN with one seed.
    """

    name: str
    mean: float
    half_width: float

    def __str__(self) -> str:
        """The mean and, with several seeds, how far it is known."""
        known = f" ± {self.half_width:.2g}" if math.isfinite(self.half_width) else ""
        return f"{self.mean:.4g}{known}"


@dataclass(frozen=True)
class SweepReport:
    """A sweep as its report tells it.

    Args:
        name: Its name.
        rows: Its trials.
        space: What was searched; None: unknown, and each knob's range is that of its values.
        objectives: Metrics that were traded off against the deciding one, name -> `min` or `max`.
        horizon: End of the time axis; None: unknown.
        time_axis: What the time axis counts: `epoch`, `step`, or a metric that only grows.
        rungs: Where trials were judged, on the time axis, ascending; empty: where verdicts are.
        status: How the sweep stands.
        seconds: Wall time so far.
        links: MLflow run id -> address of its page.
        parent_link: Address of the sweep's own page.
        go_on: Commands that go on with it; empty: `paceline test` and `paceline extend`.
        winner: The best configuration's metrics over several seeds; empty: it was trained once.
        winner_seeds: How many seeds those were.
        recipe: What was swept, as `paceline sweep` takes it; empty: no command can be told.
        changes: Config key -> value that the sweep's command set, for its trials and itself.
        planned: How many trials there will be; None: those that are.
    """

    name: str
    rows: Rows
    space: Space | None = None
    objectives: Mapping[str, str] = field(default_factory=dict)
    horizon: float | None = None
    time_axis: str = "epoch"
    rungs: tuple[float, ...] = ()
    status: Status = "finished"
    seconds: float = 0.0
    links: Mapping[str, str] = field(default_factory=dict)
    parent_link: str = ""
    go_on: tuple[str, ...] = ()
    winner: tuple[WinnerMetric, ...] = ()
    winner_seeds: int = 0
    recipe: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    planned: int | None = None

    @property
    def modes(self) -> dict[str, str]:
        """Every objective, the deciding metric first, name -> `min` or `max`."""
        return {self.rows.metric: self.rows.mode, **self.objectives}

    @property
    def commands(self) -> tuple[str, ...]:
        """Commands that go on with the sweep."""
        more = max(8, len(self.rows) // 2)
        return self.go_on or (
            f"paceline test {self.name}",
            f"paceline extend {self.name} --trials {more}",
        )

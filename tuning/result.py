"""What `sweep` and `show` answer: counts, the best trial, and a table of all trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..platform.configuration.keys import short_key
from ..platform.result import Status
from ..platform.tracking.uri import public_uri
from ..platform.training.checkpoint_names import BEST
from .rows import Rows, TrialRow
from .search.space import Space
from .trial_folder import folder_of

if TYPE_CHECKING:
    import pandas


@dataclass
class SweepResult:
    """A sweep as it stands.

    Args:
        name: Its name.
        run_id: MLflow's id of the parent run.
        status: How it stands.
        rows: Its trials.
        best: `trial_id, run_id, config, metrics, checkpoint` of the best trial; None without one.
        tracking_uri: MLflow store or server.
        seconds: Wall time so far.
        link: Address of the parent run's page.
        plots: Paths of its pictures.
        winner: What the winner's seeds gave: `seeds`, `runs`, `metrics`; None without.
    """

    name: str
    run_id: str
    status: Status
    rows: Rows
    best: dict[str, Any] | None
    tracking_uri: str
    seconds: float
    link: str = ""
    plots: list[str] = field(default_factory=list)
    winner: dict[str, Any] | None = None

    @property
    def trials(self) -> int:
        """How many trials were begun."""
        return len(self.rows)

    def as_dict(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "name": self.name,
            "run_id": self.run_id,
            "status": self.status,
            "trials": self.trials,
            "finished": self.rows.count("finished"),
            "stopped_early": sum(row.stop_reason == "early_stopped" for row in self.rows),
            "failed": self.rows.count("failed"),
            "best": self.best,
            "tracking_uri": public_uri(self.tracking_uri),
            "seconds": round(self.seconds, 3),
            **({"winner": self.winner} if self.winner else {}),
        }

    def dataframe(self) -> pandas.DataFrame:
        """One row a trial: knobs as `knob.NAME`, then the metrics of its best epoch."""
        import pandas

        return pandas.DataFrame([trial_as_dict(row) for row in self.rows])


def trial_as_dict(row: TrialRow) -> dict[str, Any]:
    """One trial, flat."""
    return {
        "trial_id": row.trial_id,
        "run_id": row.run_id,
        "status": row.status,
        "stop_reason": row.stop_reason,
        "epoch": row.epoch,
        "best_epoch": row.best_epoch,
        "score": row.score,
        "seconds": round(row.seconds, 3),
        "seed": row.seed,
        **{f"knob.{name}": value for name, value in row.values.items()},
        **row.metrics,
        "error": row.error,
    }


def describe_best(rows: Rows, space: Space, folder: Path) -> dict[str, Any] | None:
    """The best trial as the JSON answer has it; None while no trial has a finite score.

    Args:
        rows: The trials.
        space: The sweep's space, which knows where a knob's value goes.
        folder: The sweep's folder.
    """
    row = rows.best()
    if row is None:
        return None
    checkpoint = folder_of(folder, row.number) / BEST
    values: Mapping[str, Any] = space.assignments(row.best_values)
    return {
        "trial_id": row.trial_id,
        "run_id": row.run_id,
        "config": {short_key(key): value for key, value in values.items()},
        "metrics": row.metrics,
        "checkpoint": str(checkpoint) if checkpoint.exists() else None,
    }

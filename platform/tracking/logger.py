"""Lightning's logger over our writer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from .writer import MetricWriter


class RunLogger(Logger):
    """Gives what a module logs to a run that exists.

    It neither creates the run nor ends it: that is the work of the process that outlives training.
    Only rank 0 writes.

    Args:
        writer: The run's writer, whose owner closes it; `fit` and `test` share one.
        name: The run's name.

    Attributes:
        step_offset: Added to each step. A run that goes on from another one's checkpoint counts on
            from where it was itself, so that its curves have each step once.
    """

    def __init__(self, writer: MetricWriter, name: str = ""):
        super().__init__()
        self.writer, self.step_offset = writer, 0
        self._name = name

    @property
    def name(self) -> str:
        """The run's name."""
        return self._name

    @property
    def version(self) -> str:
        """The run's id."""
        return self.writer.run_id

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Hand metrics on; costs the caller some microseconds."""
        self.writer.add(metrics, (step or 0) + self.step_offset)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the record has written the whole config as params already."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Wait until what was logged has arrived."""
        self.writer.flush()

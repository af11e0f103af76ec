"""A trial that trains in its actor's own process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..platform.configuration.config import Config
from ..platform.launch.recorded import train
from ..platform.storage.going_on import newest_of
from ..platform.training.fitting import prepare
from .population.knob_curves import KnobCurves
from .reporter import Report, TrialReporter, UnknownMetric, facts_of


class OneProcess:
    """Trains a trial here, and knows how it stands with its sweep.

    Args:
        report: Sends a result to the sweep; raises SystemExit when the answer is to stop.
        arguments: The reporter's, all but `report`.
        has_pictures: Whether a trial that runs to its end draws its pictures.
    """

    state_key = TrialReporter.__qualname__  # where checkpoints keep what the reporter knows

    def __init__(self, report: Report, arguments: Mapping[str, Any], has_pictures: bool):
        self.reporter = TrialReporter(**arguments, report=report)
        self.has_pictures = has_pictures
        self.facts: dict[str, float] = {}
        self.fatal: dict[str, str] | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether the sweep has stopped this trial."""
        return self.reporter.is_stopped

    @property
    def is_late(self) -> bool:
        """Whether the trial's time was up."""
        return self.reporter.is_late

    def unsent(self) -> list[dict[str, Any]]:
        """The reports that the sweep has not had."""
        return self.reporter.unsent()

    def train(
        self, config: Config, *, folder: Path, curves: Mapping[str, Any] | None, **record: Any
    ) -> str:
        """Train one configuration, in a run that exists.

        Args:
            config: The trial's config.
            folder: Its folder.
            curves: Arguments of a member's `KnobCurves`; None: it is in no population.
            **record: See `recorded.train`.

        Returns:
            Why it stopped.

        Raises:
            Exception: Whatever the model, the data or a callback raises.
        """
        # A process that died may have left a checkpoint before the journal knew it had begun.
        checkpoint = newest_of(record.get("place"), folder)
        built = prepare(config, ckpt_path=checkpoint)
        try:
            outcome = train(
                config,
                folder=folder,
                callbacks=[self.reporter, *([KnobCurves(**curves)] if curves else [])],
                built=built,
                ckpt_path=checkpoint,
                wants_pictures=lambda: self.has_pictures and not self.is_stopped,
                **record,
            )
        except UnknownMetric as error:
            self.fatal = error.as_dict()
            raise
        self.facts = facts_of(built.model)
        return outcome.stop_reason

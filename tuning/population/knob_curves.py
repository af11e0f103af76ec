"""The hyperparameters of a member over its steps, as metrics of its run: `hp/learning_rate`, ..."""

from __future__ import annotations

from collections.abc import Mapping

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from ...platform.tracking.logger import RunLogger


class KnobCurves(Callback):
    """Logs what the knobs are where a stretch of training begins, and at each validation.

    A stretch has the same values from its first step to its last; MLflow draws straight lines
    between points, so both ends are told, and a change is a step in the curve.

    Args:
        curves: Metric's name -> value.
        step_offset: By how much the run's steps are ahead of the trainer's, which are its donor's
            where the run is a copy.
    """

    def __init__(self, curves: Mapping[str, float], step_offset: int):
        self.curves, self.step_offset = dict(curves), step_offset

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the run count its own steps."""
        if isinstance(trainer.logger, RunLogger):
            trainer.logger.step_offset = self.step_offset

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The step that comes next is the first with these values."""
        self._log(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The step that was just made had them; it is counted after the validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._log(trainer)

    def _log(self, trainer: Trainer) -> None:
        if self.curves and trainer.logger is not None:
            step = trainer.fit_loop.epoch_loop._batches_that_stepped
            trainer.logger.log_metrics(self.curves, step)

"""The checkpoints of a run: the latest and the best, each whole or not there."""

from __future__ import annotations

import contextlib
import errno
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from ..errors import RunError, UserError, must
from .checkpoint_file import publish
from .checkpoint_names import BEST, LATEST


class Checkpoints(Checkpoint):
    """Keeps `latest.ckpt` and `best.ckpt` in a folder while a run trains.

    Args:
        folder: Where the two files go.
        metric: Name of the metric that decides the best; the latest is the best when it is None.
        mode: `min` or `max`.
        strict: Whether a metric that the module never logs is an error.
        every_n_epochs: Saves after so many epochs, and after the last.
        every_n_steps: Saves after so many optimizer steps too.
    """

    def __init__(
        self,
        folder: Path,
        metric: str | None,
        mode: str = "min",
        *,
        strict: bool = True,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
    ):
        self.folder, self.metric, self.mode, self.strict = folder, metric, mode, strict
        self.every_n_epochs, self.every_n_steps = every_n_epochs, every_n_steps
        self.best_score = math.inf if mode == "min" else -math.inf
        self.best_metrics: dict[str, float] = {}
        self._saved_at = self._judged_at = -1  # optimizer steps

    @property
    def best(self) -> Path | None:
        """The best checkpoint so far; None before the first."""
        return self.folder / BEST if (self.folder / BEST).exists() else None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know: the best score and its metrics."""
        return {"best_score": self.best_score, "best_metrics": self.best_metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score up again, unless the run goes on in another folder, without it."""
        if self.best is None:
            return
        self.best_score = state_dict["best_score"]
        self.best_metrics = state_dict["best_metrics"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the metric's name at the first validation; save when the epoch goes on after it."""
        if trainer.state.fn != "fit":
            return
        if self.metric is not None and self.metric not in trainer.callback_metrics:
            self._metric_is_missing(trainer)
        if not trainer.sanity_checking and not _validates_at_epoch_end(trainer):
            self._save(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch when enough steps were made; the best is looked for at its end.

        Not where a validation follows, which saves itself: a run that goes on from there would take
        it for made, and a second one that does so would train the epoch again.
        """
        step = trainer.global_step
        is_due = self.every_n_steps and step - max(self._saved_at, 0) >= self.every_n_steps
        if is_due and not is_validated_next(trainer):
            self.save_latest(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the epoch's end, after every other callback has logged."""
        if self.every_n_epochs == 1 or self._is_due(trainer):
            self._save(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        """Whether this epoch is saved: each n-th, and the last."""
        epochs, last = trainer.current_epoch + 1, trainer.max_epochs
        is_last = trainer.should_stop or epochs == last or trainer.global_step == trainer.max_steps
        return is_last or epochs % self.every_n_epochs == 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that goes on was saved where it begins."""
        if trainer.global_step:
            self._saved_at = trainer.global_step

    def _metric_is_missing(self, trainer: Trainer) -> None:
        logged = sorted(trainer.callback_metrics)
        if self.strict:
            raise UserError(
                must("sweep.metric", "a metric that the module logs in validation", self.metric),
                f"the first validation of {type(trainer.lightning_module).__name__}",
                f"it logs: {', '.join(logged) or 'nothing'}",
            )
        self.metric = None

    def _save(self, trainer: Trainer) -> None:
        if getattr(trainer, "fast_dev_run", False) or self._judged_at == trainer.global_step:
            return
        self._saved_at = self._judged_at = trainer.global_step
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        is_best = self._is_best(metrics)
        if is_best:
            self.best_metrics = metrics
            self.best_score = self._score(metrics)
        self._write(trainer, is_best)

    def save_latest(self, trainer: Trainer) -> None:
        """Save where the training stands, without asking whether it is the best."""
        if self._saved_at != trainer.global_step and not getattr(trainer, "fast_dev_run", False):
            self._saved_at = trainer.global_step
            self._write(trainer, is_best=False)

    def _write(self, trainer: Trainer, is_best: bool) -> None:
        temporary = self.folder / f".{LATEST}.new"
        with _room_for(temporary, self._copy_of_best):
            trainer.save_checkpoint(temporary)
            self._publish(temporary, is_best)
        for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
            if hasattr(callback, "on_checkpoint_saved"):
                callback.on_checkpoint_saved(trainer)

    @rank_zero_only
    def _publish(self, temporary: Path, is_best: bool) -> None:
        publish(temporary, self.folder / LATEST)
        if is_best:
            shutil.copyfile(self.folder / LATEST, self._copy_of_best)
            publish(self._copy_of_best, self.folder / BEST)

    @property
    def _copy_of_best(self) -> Path:
        return self.folder / f".{BEST}.new"

    def _score(self, metrics: dict[str, float]) -> float:
        return math.nan if self.metric is None else metrics.get(self.metric, math.nan)

    def _is_best(self, metrics: dict[str, float]) -> bool:
        if math.isnan(self.best_score) or not self.best_metrics:
            return True  # nothing was measured so far, or what was is no number
        value = self._score(metrics)
        return value < self.best_score if self.mode == "min" else value > self.best_score


@contextlib.contextmanager
def _room_for(*temporary: Path) -> Iterator[None]:
    """Tell of a full disk in one message, and leave nothing half-written on it.

    Raises:
        RunError: There is no room.
    """
    try:
        yield
    except OSError as error:
        for path in temporary:
            path.unlink(missing_ok=True)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        folder = str(temporary[0].parent)
        raise RunError(
            must("--storage", "a folder with room for another checkpoint", folder),
            str(error.strerror),
            "make room there; `paceline resume` goes on from the whole checkpoint before",
        ) from error


def is_validated_next(trainer: Trainer) -> bool:
    """Whether this batch is the epoch's last or one behind which a validation stands."""
    fetcher: Any = trainer.fit_loop._data_fetcher
    return trainer.is_last_batch or trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def _validates_at_epoch_end(trainer: Trainer) -> bool:
    return trainer.val_check_interval == 1.0

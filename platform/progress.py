"""Progress of one run: a bar that lives on a terminal, one plain line an epoch elsewhere.

Everything goes to standard error, so that `--json` has standard output for itself.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def console() -> Console:
    """The console on standard error."""
    return Console(file=sys.stderr, highlight=False)


class EpochProgress(Callback):
    """Shows where a run is: epoch, batch, the latest metrics.

    Args:
        every_s: A terminal is redrawn at most this often; a batch in between costs one clock read.
    """

    def __init__(self, every_s: float = 0.2):
        self.every_s = every_s
        self.console = console()
        self._bar: Progress | None = None
        self._task: Any = None
        self._drawn_at = self._epoch_began = self._seconds = 0.0
        self._epoch = 0  # of the epoch that runs, from 1
        self._is_shown = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar on a terminal."""
        self._is_shown = trainer.is_global_zero
        if self._is_shown and self.console.is_terminal:
            columns = (
                "[bold]{task.description}",
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            parts = [TextColumn(c) if isinstance(c, str) else c for c in columns]
            self._bar = Progress(*parts, TextColumn("{task.fields[metrics]}"), console=self.console)
            self._task = self._bar.add_task("training", total=None, metrics="")
            self._bar.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the epoch before this one, whose metrics are complete only now, and begin anew.

        A module may log at the epoch's end, which comes after a callback's.
        """
        self._tell(trainer)
        self._epoch, self._epoch_began = trainer.current_epoch + 1, time.monotonic()
        if self._bar:
            total = trainer.num_training_batches
            self._bar.reset(self._task, total=total if total != float("inf") else None)
            self._bar.update(self._task, description=f"epoch {self._of(trainer)}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Redraw when it is time."""
        if self._bar and (now := time.monotonic()) - self._drawn_at > self.every_s:
            self._drawn_at = now
            self._bar.update(self._task, completed=batch_idx + 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the epoch's time."""
        self._seconds = time.monotonic() - self._epoch_began

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the last epoch and close the bar."""
        self._tell(trainer)
        self._close()

    def _tell(self, trainer: Trainer) -> None:
        if not self._epoch:
            return
        metrics = format_metrics({k: float(v) for k, v in trainer.callback_metrics.items()})
        if self._bar:
            self._bar.update(self._task, metrics=metrics)
        elif self._is_shown:
            line = f"epoch {self._of(trainer)}  {metrics}  {self._seconds:.1f} s"
            self.console.print(line, soft_wrap=True)

    def _of(self, trainer: Trainer) -> str:
        total = trainer.max_epochs
        return f"{self._epoch}" + (f"/{total}" if total and total > 0 else "")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, whatever ended the run."""
        self._close()

    def _close(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


def format_metrics(metrics: dict[str, float]) -> str:
    """Metrics in one line, four significant digits; step-wise doubles are left out."""
    shown = {k: v for k, v in metrics.items() if not k.endswith(("_step", "_epoch")) and k != "lr"}
    return "  ".join(f"{name} {value:.4g}" for name, value in sorted(shown.items()))

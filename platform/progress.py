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


class Screen:
    """Where a run's progress is shown: a bar on a terminal, lines elsewhere."""

    def __init__(self):
        self.console = console()
        self._bar: Progress | None = None
        self._task: Any = None

    def open(self) -> None:
        """The training begins."""
        if not self.console.is_terminal or self._bar:
            return
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

    def begin_epoch(self, epoch: str, num_batches: float | None) -> None:
        """An epoch begins; its number is `3/10`."""
        if self._bar:
            self._bar.reset(self._task, total=num_batches)
            self._bar.update(self._task, description=f"epoch {epoch}")

    def move(self, num_batches: int) -> None:
        """So many batches of the epoch are done."""
        if self._bar:
            self._bar.update(self._task, completed=num_batches)

    def end_epoch(self, epoch: str, metrics: str, seconds: float) -> None:
        """An epoch has ended with these metrics."""
        if self._bar:
            self._bar.update(self._task, metrics=metrics)
        else:
            self.say(f"epoch {epoch}  {metrics}  {seconds:.1f} s")

    def say(self, line: str) -> None:
        """A line of its own, as it stands: an error's brackets are no markup."""
        self.console.print(line, soft_wrap=True, markup=False)

    def close(self) -> None:
        """The training is over, however it ended."""
        if self._bar:
            self._bar.stop()
            self._bar = None


class EpochProgress(Callback):
    """Tells where a run is: epoch, batch, the latest metrics.

    Args:
        screen: Where it is shown.
        every_s: It is told at most this often; a batch in between costs one clock read.
    """

    def __init__(self, screen: Screen | None = None, every_s: float = 0.2):
        self.screen, self.every_s = screen or Screen(), every_s
        self._moved_at = self._epoch_began = self._seconds = 0.0
        self._epoch = 0  # of the epoch that runs, from 1
        self._is_shown = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the screen, of rank 0 alone."""
        self._is_shown, self._epoch_began = trainer.is_global_zero, time.monotonic()
        if self._is_shown:
            self.screen.open()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the epoch before this one, whose metrics are complete only now, and begin anew.

        A module may log at the epoch's end, which comes after a callback's.
        """
        self._tell(trainer)
        self._epoch, self._epoch_began = trainer.current_epoch + 1, time.monotonic()
        if self._is_shown:
            total = trainer.num_training_batches
            self.screen.begin_epoch(self._of(trainer), total if total != float("inf") else None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell it when it is time."""
        if self._is_shown and (now := time.monotonic()) - self._moved_at > self.every_s:
            self._moved_at = now
            self.screen.move(batch_idx + 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the epoch's time; one that was taken up in its middle has told no beginning."""
        self._epoch = trainer.current_epoch + 1
        self._seconds = time.monotonic() - self._epoch_began

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the last epoch and close the screen."""
        self._tell(trainer)
        self._close()

    def _tell(self, trainer: Trainer) -> None:
        if self._epoch and self._is_shown:
            metrics = format_metrics({k: float(v) for k, v in trainer.callback_metrics.items()})
            self.screen.end_epoch(self._of(trainer), metrics, self._seconds)

    def _of(self, trainer: Trainer) -> str:
        total = trainer.max_epochs
        return f"{self._epoch}" + (f"/{total}" if total and total > 0 else "")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the screen, whatever ended the run."""
        self._close()

    def _close(self) -> None:
        if self._is_shown:
            self.screen.close()


def format_metrics(metrics: dict[str, float]) -> str:
    """Metrics in one line, four significant digits; step-wise doubles are left out."""
    shown = {k: v for k, v in metrics.items() if not k.endswith(("_step", "_epoch")) and k != "lr"}
    return "  ".join(f"{name} {value:.4g}" for name, value in sorted(shown.items()))

"""A training run with its record: what `paceline fit` does in its process and a sweep in an actor.

The run exists already, created by the process that outlives this one and that will end it. Here the
metrics, the system's load, the config, the data's digest and the pictures go into it, all but the
pictures beside the training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

from ..configuration.config import Config
from ..tracking.artifacts import finish_artifacts
from ..tracking.background import Background
from ..tracking.logger import RunLogger
from ..tracking.record import begin, record_data, record_model, summary_of
from ..tracking.snapshots import Snapshots
from ..tracking.store import Store
from ..tracking.system import SystemMonitor
from ..tracking.writer import MetricWriter
from ..training.building import Built
from ..training.fitting import Outcome, fit, prepare


class _RecordData(Callback):
    """Writes the data's digest once the data has been set up, on rank 0."""

    def __init__(self, background: Background, store: Store, run_id: str):
        self.background, self.store, self.run_id = background, store, run_id

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the trainer's data module."""
        data = getattr(trainer, "datamodule", None)
        if trainer.is_global_zero and data is not None:
            self.background.post(lambda: record_data(self.store, self.run_id, data))


class _KeepPoints(Callback):
    """Keeps in each checkpoint the points that had not arrived, and gives them back from it.

    What an earlier attempt wrote behind its checkpoint is in the store already; those steps are
    trained again and not written again. An epoch's own metrics belong to its checkpoint too, though
    Lightning logs them only after the last callback.
    """

    def __init__(self, writer: MetricWriter):
        self.writer = writer
        self._ended: Trainer | None = None  # between an epoch's end and the next one's begin

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What the epoch before ended with has been logged."""
        self._ended = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The epoch's metrics are complete and will be logged."""
        # Reading them is a collective call where there are several processes.
        self._ended = trainer if trainer.world_size == 1 else None

    def state_dict(self) -> dict[str, Any]:
        """The points that are on their way, and those that are about to be."""
        points = self.writer.unwritten()
        if self._ended is not None:
            step = self._ended.fit_loop.epoch_loop._batches_that_stepped - 1
            metrics = self._ended._logger_connector.metrics["log"]
            now = int(time.time() * 1000)
            points += [[name, float(value), now, step] for name, value in metrics.items()]
        return {"run_id": self.writer.run_id, "points": points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Send them, when it is the same run that goes on."""
        if state_dict["run_id"] == self.writer.run_id:
            self.writer.go_on(state_dict["points"])


def train(
    config: Config,
    *,
    store_uri: str,
    run_id: str,
    folder: Path,
    callbacks: Iterable[Callback] = (),
    built: Built | None = None,
    name: str = "",
    command: str = "",
    ckpt_path: str | None = None,
    strict_metric: bool = True,
    log_model: bool = False,
    is_again: bool = False,
    wants_pictures: Callable[[], bool] = lambda: True,
    takes_snapshots: bool = False,
) -> Outcome:
    """Train a config's model and record it in a run that exists.

    Args:
        config: A checked config.
        store_uri: What `tracking.resolve_uri` returned.
        run_id: The run; it is neither created nor ended here.
        folder: Where the checkpoints go.
        callbacks: Callbacks beside the config's own.
        built: What `training.prepare` returned; built and seeded here when None.
        name: The run's name.
        command: The command that makes this run again, for its note.
        ckpt_path: Checkpoint to go on from.
        strict_metric: Whether a deciding metric that is never logged is an error.
        log_model: Whether the best checkpoint is logged as an MLflow model too.
        is_again: Whether an earlier attempt may have written into the run, with a checkpoint or
            before its first: no step is written twice.
        wants_pictures: Asked after training whether pictures and the signature are to be made,
            which takes 0.5 s: most trials of a sweep spare them.
        takes_snapshots: Whether what a generative module makes so far is kept after validations.

    Raises:
        UserError: The deciding metric or a checkpoint is wrong.
        Exception: Whatever the model, the data or a callback raises.
    """
    built = built or prepare(config, ckpt_path=ckpt_path)
    writer = MetricWriter(store_uri, run_id, folder)
    store = Store(store_uri, writer=writer)
    background = Background("A part of the run's record")
    monitor = SystemMonitor(writer).start()
    try:
        if is_again:
            writer.go_on([])
        for write in _descriptions(config, built, store, run_id, name, command):
            background.post(write)
        outcome = fit(
            config,
            folder=folder,
            logger=RunLogger(writer, name),
            callbacks=[
                _RecordData(background, store, run_id),
                _KeepPoints(writer),
                *([Snapshots(background, store, run_id)] if takes_snapshots else []),
                *callbacks,
            ],
            built=built,
            ckpt_path=ckpt_path,
            strict_metric=strict_metric,
        )
        writer.flush()
        if wants_pictures():
            checkpoint = outcome.checkpoint
            finish_artifacts(store, run_id, built.model, checkpoint=checkpoint, log_model=log_model)
        return outcome
    finally:
        monitor.stop()
        background.close()
        writer.close()


def _descriptions(
    config: Config, built: Built, store: Store, run_id: str, name: str, command: str
) -> list[Callable[[], None]]:
    """What is known of a run before it trains, as writes that can be made beside the training."""
    # It runs the module on its example, so it is made now; writing it may take its time.
    summary = summary_of(built.model)
    describe = partial(
        begin,
        store,
        run_id,
        # How it would be searched does not shape a single run; `config.yaml` has it all.
        config={key: value for key, value in config.resolved.items() if key != "sweep"},
        config_text=config.text(),
        name=name,
        seed=config.seed,
        command=command,
        world_size=built.world_size,
    )
    return [describe, lambda: record_model(store, run_id, summary)]

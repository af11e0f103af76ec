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
from ..storage.upload_callback import uploading
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


class KeepPoints(Callback):
    """Keeps in each checkpoint the points that had not arrived, and gives them back from it.

    What an earlier attempt wrote behind its checkpoint is in the store already; those steps are
    trained again and not written again. The metrics of the very step or epoch at which a checkpoint
    is written belong to it too, though Lightning logs them only after the last callback.

    Args:
        writer: The run's writer; None in the other processes of a run, which all read an epoch's
            metrics together.
    """

    def __init__(self, writer: MetricWriter | None):
        self.writer = writer
        self._trainer: Trainer | None = None
        self._is_epoch_over = False  # between an epoch's end and the next one's begin

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know whose metrics to read."""
        self._trainer = trainer

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What the epoch before ended with has been logged."""
        self._is_epoch_over = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The epoch's metrics are complete and will be logged."""
        self._is_epoch_over = True

    def state_dict(self) -> dict[str, Any]:
        """The points that are on their way, and those that are about to be."""
        upcoming = self._upcoming()  # in all processes: reading it may be a collective call
        if self.writer is None:
            return {}
        return {"run_id": self.writer.run_id, "points": self.writer.unwritten() + upcoming}

    def _upcoming(self) -> list[list[Any]]:
        if self._trainer is None:
            return []
        connector, loop = self._trainer._logger_connector, self._trainer.fit_loop.epoch_loop
        progress: Any = loop.batch_progress.current
        is_step_over = progress.processed > progress.completed and connector.should_update_logs
        if not self._is_epoch_over and not is_step_over:
            return []
        step = loop._batches_that_stepped - (1 if self._is_epoch_over else 0)
        step += getattr(self._trainer.logger, "step_offset", 0)
        now = int(time.time() * 1000)
        return [[name, float(value), now, step] for name, value in connector.metrics["log"].items()]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Send them, when it is the same run that goes on."""
        if self.writer is not None and state_dict.get("run_id") == self.writer.run_id:
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
    node: str = "",
    place: str | None = None,
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
        node: Name of this machine, when several write their load into the run.
        place: Where in an object store the checkpoints go too; None: they stay in the folder.

    Returns:
        How it ended; the checkpoint's address where it is in an object store.

    Raises:
        UserError: The deciding metric or a checkpoint is wrong.
        Exception: Whatever the model, the data or a callback raises.
    """
    built = built or prepare(config, ckpt_path=ckpt_path)
    writer = MetricWriter(store_uri, run_id, folder)
    store = Store(store_uri, writer=writer)
    background = Background("A part of the run's record")
    monitor = SystemMonitor(writer, node=node).start()
    try:
        if is_again:
            writer.go_on([])
        for write in _descriptions(config, built, store, run_id, name, command):
            background.post(write)
        ours = [_RecordData(background, store, run_id), KeepPoints(writer)]
        ours += [Snapshots(background, store, run_id)] if takes_snapshots else []
        with uploading(place, folder) as uploads:
            outcome = fit(
                config,
                folder=folder,
                logger=RunLogger(writer, name),
                callbacks=[*ours, *uploads.callbacks, *callbacks],
                built=built,
                ckpt_path=ckpt_path,
                strict_metric=strict_metric,
            )
            writer.flush()
            if wants_pictures():
                best = outcome.checkpoint
                finish_artifacts(store, run_id, built.model, checkpoint=best, log_model=log_model)
        outcome.checkpoint = uploads.address(outcome.checkpoint)
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
        config={key: value for key, value in config.resolved.items() if key != "sweep"}
        # Each process has a batch of its own, and their gradients are averaged.
        | {"world_size": built.world_size, "global_batch_size": built.global_batch_size},
        config_text=config.text(),
        name=name,
        seed=config.seed,
        command=command,
        world_size=built.world_size,
    )
    return [describe, lambda: record_model(store, run_id, summary)]

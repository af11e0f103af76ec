"""Our side of a benchmark: a run as `paceline fit` makes it, with its record, and its time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from paceline.platform.configuration.config import Config
from paceline.platform.launch.recorded import train
from paceline.platform.tracking.store import Store
from paceline.platform.training.building import Built
from pytorch_lightning.callbacks import Callback

from .clock import EpochClock


def fit_seconds(
    config: Config, built: Built, name: str, callbacks: Iterable[Callback] = ()
) -> list[float]:
    """Train a built config, recorded in MLflow on SQLite, in a folder that is dropped.

    Args:
        config: The config.
        built: What it builds.
        name: Of the run.
        callbacks: Beside the clock.

    Returns:
        Seconds of each epoch's training part.
    """
    clock = EpochClock()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/mlflow.db", name).open()
        run_id = store.create_run(name)
        train(
            config,
            store_uri=store.uri,
            run_id=run_id,
            folder=Path(folder, "run"),
            callbacks=[clock, *callbacks],
            built=built,
            wants_pictures=lambda: False,
        )
        store.finish(run_id, "finished")
    return clock.seconds

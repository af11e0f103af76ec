"""One more rank of a run that another process drives: it trains along and keeps no record.

Lightning's own DDP starts the other ranks as copies of the command; torchrun and srun start all of
them. Rank 0 alone claims the name, makes the run and answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .configuration.config import Config
from .errors import UserError, failed, must
from .external import launched
from .launch.recorded import KeepPoints
from .result import RunResult
from .training import fitting as training

# Lightning starts the other ranks of a native DDP run as copies of this command; they join by this.
_JOIN = "PACELINE_JOIN"


def is_joining() -> bool:
    """Whether this process is one more rank of a run that another process drives."""
    outside = launched()
    return _JOIN in os.environ or (outside is not None and outside.rank > 0)


def as_launched(config: Config) -> Config:
    """The config of a process that torchrun or srun has started among others: Lightning's DDP.

    Raises:
        UserError: It asks for workers on Ray as well.
    """
    outside = launched()
    if outside is None:
        return config
    if config.launch.has_many_workers:
        rule = f"left out where {outside.world_size} processes were started from outside"
        given = config.launch.num_workers
        raise UserError(must("launch.num_workers", rule, given), config.where("launch.num_workers"))
    changes = {
        "trainer.devices": outside.num_local,
        "trainer.num_nodes": outside.world_size // outside.num_local,
        "trainer.strategy": "ddp",
    }
    left_open = {"trainer.devices": "auto", "trainer.num_nodes": 1, "trainer.strategy": "auto"}
    is_open = {key for key, value in left_open.items() if config.get(key) == value}
    return config.override({key: changes[key] for key in is_open}, "the launcher")


@contextlib.contextmanager
def joinable(result: RunResult, folder: Path, config: Config) -> Iterator[None]:
    """Tell the ranks that Lightning may start which run they belong to, and with which seed."""
    os.environ[_JOIN] = json.dumps(
        {"folder": str(folder), "seed": config.seed, "name": result.name}
    )
    try:
        yield
    finally:
        del os.environ[_JOIN]


def follow(config: Config, ckpt_path: str | None) -> RunResult:
    """Train as a rank above 0: no name to claim, no run to create, nothing to log."""
    joined = json.loads(os.environ.get(_JOIN, "{}"))
    if joined.get("seed") is not None:
        config = config.override({"seed_everything": joined["seed"]})
    started = time.monotonic()
    built = training.prepare(config, ckpt_path=ckpt_path)
    with tempfile.TemporaryDirectory() as nowhere:
        try:
            outcome = training.fit(
                config,
                folder=Path(joined.get("folder", nowhere)),
                callbacks=[KeepPoints(None)],
                built=built,
                ckpt_path=ckpt_path,
                strict_metric=False,
            )
        except Exception as error:  # whatever the module raises, or a rank that has gone
            raise failed(error) from error
    seconds = time.monotonic() - started
    return RunResult(joined.get("name", ""), "", "finished", outcome.metrics, None, "", seconds)

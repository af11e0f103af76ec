"""A run in several workers on Ray, from its config: checked, placed, trained.

The command's process is the driver: it needs no room of its own on the cluster and outlives every
worker, so the run's end is its to write.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..configuration.config import Config
from ..run_context import known
from ..training.building import Built
from ..training.fitting import prepare
from ..training.many_processes import check_strategy
from .capacity import check_fits
from .failures import Failure
from .ray_session import RaySession
from .storage_probe import check_storage
from .worker import WorkerPlan
from .workers import Driver, WorkerPool, WorkersOutcome


@contextlib.contextmanager
def cluster_for(config: Config, folder: Path) -> Iterator[RaySession]:
    """The Ray that a config asks for, able to hold its workers and to reach their storage.

    Args:
        config: A config.
        folder: The run's folder, which exists.

    Raises:
        UserError: There is no cluster at the address, its nodes cannot hold so many workers, or one
            of them cannot write where the run's files go.
    """
    with RaySession(config.launch.address) as session:
        nodes = session.nodes()
        check_fits(nodes, config.launch)
        check_storage(config, folder, len(nodes))
        yield session


def check(config: Config, ckpt_path: str | None) -> Built:
    """Check all that can be checked in the driver; what it builds trains nowhere.

    Raises:
        UserError: As `training.prepare`, or the trainer wants to place its processes itself.
    """
    config.resolved  # noqa: B018 - parses and checks
    check_strategy(config)
    return prepare(
        config,
        ckpt_path=ckpt_path,
        placement=_anywhere,
        world_size=config.launch.num_workers,
    )


def _anywhere() -> dict[str, Any]:
    """The workers' device may be none of this machine's; a CPU stands in for it."""
    return {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"}


def train_wide(
    config: Config,
    *,
    store_uri: str,
    run_id: str,
    folder: Path,
    on_attempt: Callable[[Failure | None], object] = lambda failure: None,
    on_result: Callable[[dict[str, Any]], Any] = lambda result: None,
    pool: WorkerPool | None = None,
    **more: Any,
) -> WorkersOutcome:
    """Train a config in several workers, in a run that exists.

    A trial of a sweep calls this from its actor, which needs no CPU of its own: the workers reserve
    theirs. Its `reporter` then runs in rank 0 and is answered by `on_result`.

    Args:
        config: A checked config.
        store_uri: MLflow's store.
        run_id: The run; it is neither created nor ended here.
        folder: The run's folder.
        on_attempt: See `Driver`.
        on_result: See `Driver`.
        pool: See `Driver`.
        **more: Of `WorkerPlan`.

    Raises:
        PacelineError: The run failed.
    """
    plan = WorkerPlan(
        config=config.to_dict(),
        store_uri=store_uri,
        run_id=run_id,
        folder=str(folder),
        path=tuple(sys.path),
        working_folder=os.getcwd(),
        context=known(),
        **more,
    )
    driver = Driver(plan, config.launch, on_attempt=on_attempt, on_result=on_result, pool=pool)
    return driver.run()

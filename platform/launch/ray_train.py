"""Ray Train V2 behind one door: its config family, its trainer and its controller, as we use them.

`ray.train` and `ray.tune` have classes of the same names with other fields; only Train's are here.

`TorchTrainer.fit` blocks until all is over. A driver has to show progress, to answer a worker that
asks, and to end a run in order, so here the controller has a few methods more (`controller`), and
whoever starts it asks it a few times a second (`worker_group`).

Helpers that Train starts in processes of their own, each with all its imports, are left out where
they are not needed: the one that hands out Ray Data's shards; the one that reserves room with Ray
Data's autoscaler, where the number of workers is fixed; the one that looks for nodes that are about
to go (`draining` does); and the one that gives room back after a crash (`rooms` does).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..configuration.options import Launch
from . import ray_settings as ray_settings
from .capacity import worker_shape
from .controller import Controller, LeaveOnSigterm, QuietScaling
from .rooms import NoteRoom, owner_here

import ray  # isort: skip - after `ray_settings`
from ray.train import FailureConfig, LoggingConfig, Result, RunConfig  # isort: skip
from ray.train import ScalingConfig  # isort: skip
from ray.train.torch import TorchConfig, TorchTrainer  # isort: skip
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback  # isort: skip
from ray.train.v2._internal.callbacks.placement_group_callback import (  # isort: skip
    PlacementGroupCleanerCallback,
)
from ray.train.v2._internal.constants import get_env_vars_to_propagate  # isort: skip
from ray.train.v2._internal.execution.preemption import _get_draining_nodes  # isort: skip
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy  # isort: skip

# For a collective call. A trial may wait at a rung for the others; who hangs, the driver finds out.
OPERATION_TIMEOUT_S = 30 * 24 * 3600


def scaling_config(launch: Launch) -> ScalingConfig:
    """How many workers, and what each reserves.

    Args:
        launch: The `launch` section of a config.
    """
    shape = {name: amount for name, amount in worker_shape(launch).items() if amount}
    workers = launch.num_workers, launch.most_workers
    return ScalingConfig(
        num_workers=workers[0] if workers[0] == workers[1] else workers,
        use_gpu=launch.gpus_per_worker > 0,
        resources_per_worker=shape,
    )


def run_config(folder: str, name: str) -> RunConfig:
    """Where Train keeps what is its own; our checkpoints are not given to it.

    What has failed is started again by `workers`, which counts the attempts; and so that nothing of
    an earlier attempt is taken up by its name, each has its own.

    Args:
        folder: A folder that all nodes share.
        name: The attempt's name.
    """
    return RunConfig(
        name=name,
        storage_path=folder,
        failure_config=FailureConfig(max_failures=0),
        callbacks=[LeaveOnSigterm()],  # pyright: ignore[reportArgumentType] - Train takes its own
        logging_config=LoggingConfig(log_level="ERROR"),
    )


class WorkerTrainer(TorchTrainer):
    """A TorchTrainer whose `fit` starts the controller and does not wait for it."""

    controller: Any = None
    running: Any = None  # over when the run is

    def _create_default_callbacks(self) -> list[Any]:
        with warnings.catch_warnings():
            # Ray Data, which nobody uses here, warns of its own settings.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            made = super()._create_default_callbacks()
        left_out = (DatasetsCallback, PlacementGroupCleanerCallback)
        owner = owner_here()
        ours = [] if owner is None else [NoteRoom(owner)]
        return [callback for callback in made if not isinstance(callback, left_out)] + ours

    def _initialize_and_run_controller(self, **kwargs: Any) -> Result:
        if isinstance(kwargs["scaling_policy"], FixedScalingPolicy):
            kwargs["scaling_policy"] = QuietScaling(self.scaling_config)
        here = ray.get_runtime_context().get_node_id()
        make = ray.remote(
            num_cpus=0,
            label_selector={ray._raylet.RAY_NODE_ID_KEY: here},  # pyright: ignore
            runtime_env={"env_vars": _environment()},
        )(Controller)
        self.controller = make.remote(**kwargs)
        self.running = self.controller.run.remote()
        return Result(metrics=None, checkpoint=None, error=None, path="")


def _environment() -> dict[str, str]:
    """What the controller must find in its environment; the raylet's may be another's."""
    ours = {name: os.environ[name] for name in ray_settings.SETTINGS}
    return {**get_env_vars_to_propagate(), **ours, "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


def draining() -> set[str]:
    """Ids of the nodes that the cluster is about to take away."""
    return set(_get_draining_nodes() or {})


def node_names() -> dict[str, str]:
    """Id of each living node -> a name that no other has: its host's, numbered where it must be."""
    hosts: dict[str, str] = {}
    for node in ray.nodes():
        if node["Alive"]:
            host = node["NodeManagerHostname"]
            same = sum(name.partition(".")[0] == host for name in hosts.values())
            hosts[node["NodeID"]] = f"{host}.{same + 1}" if same else host
    return hosts


def make_trainer(
    function: Callable[[dict[str, Any]], Any],
    config: Mapping[str, Any],
    launch: Launch,
    folder: Path,
    name: str,
) -> WorkerTrainer:
    """A trainer that runs a function in each of several workers.

    Args:
        function: A function of a module, called once torch's process group is open.
        config: What it is called with.
        launch: How many workers of which shape.
        folder: A folder that all nodes share, for what Train keeps.
        name: A name that nothing in the folder has.
    """
    return WorkerTrainer(
        function,
        train_loop_config=dict(config),
        torch_config=TorchConfig(timeout_s=OPERATION_TIMEOUT_S),
        scaling_config=scaling_config(launch),
        run_config=run_config(str(folder), name),
    )

"""Ray Train V2 behind one door: its config family, its trainer and its controller, as we use them.

`ray.train` and `ray.tune` have classes of the same names with other fields; only Train's are here.

`TorchTrainer.fit` blocks until all is over. A driver has to show progress, to answer a worker that
asks, and to end a run in order, so here the controller has a few methods more, and whoever starts
it asks it a few times a second.

Helpers that Train starts in processes of their own, each with all its imports, are left out where
they are not needed: the one that hands out Ray Data's shards; the one that reserves room with Ray
Data's autoscaler, where the number of workers is fixed; the one that looks for nodes that are about
to go (`draining` does); and the one that gives room back after a crash, where the job's end does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..configuration.options import Launch
from ..deferred_signals import DeferredSignals
from . import ray_settings as ray_settings
from .capacity import worker_shape

import ray  # isort: skip - after `ray_settings`
from ray.exceptions import RayError  # isort: skip
from ray.train import FailureConfig, LoggingConfig, Result, RunConfig  # isort: skip
from ray.train import ScalingConfig  # isort: skip
from ray.train.torch import TorchConfig, TorchTrainer  # isort: skip
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback  # isort: skip
from ray.train.v2._internal.callbacks.placement_group_callback import (  # isort: skip
    PlacementGroupCleanerCallback,
)
from ray.train.v2._internal.constants import get_env_vars_to_propagate  # isort: skip
from ray.train.v2._internal.execution.callback import WorkerCallback  # isort: skip
from ray.train.v2._internal.execution.controller import TrainController  # isort: skip
from ray.train.v2._internal.execution.preemption import _get_draining_nodes  # isort: skip
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy  # isort: skip

ASK_EVERY_S = 0.1
ANSWER_S = 5.0  # it is silent while its workers start
LEAVE_S = 20.0  # what workers get to agree, save and write after they were told to leave
OPERATION_TIMEOUT_S = 1800  # torch's own limit for a collective call


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


class Controller(TrainController):
    """Train's controller, which also carries words between the workers and the driver."""

    def __init__(self, *args: Any, **kwargs: Any):
        self._notes: list[dict[str, Any]] = []
        self._answers: dict[int, asyncio.Future[Any]] = {}
        super().__init__(*args, **kwargs)

    async def note(self, note: dict[str, Any]) -> None:
        """A worker tells the driver something."""
        self._notes.append(note)

    async def ask(self, question: dict[str, Any]) -> Any:
        """A worker tells the driver something and waits for the answer."""
        number = len(self._answers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._notes.append({**question, "number": number})
        return await self._answers[number]

    async def answer(self, number: int, answer: Any) -> None:
        """The driver answers."""
        self._answers[number].set_result(answer)

    async def notes(self) -> list[dict[str, Any]]:
        """What was told since the driver asked last."""
        notes, self._notes = self._notes, []
        return notes

    async def tell_workers_to_leave(self) -> bool:
        """Let the workers end together after a checkpoint; whether there are any."""
        group = self._worker_group
        workers = group.get_workers() if group is not None and group.has_started() else []
        for worker in workers:
            worker.execute_async(leave)
        return bool(workers)

    async def node_ids(self) -> list[str]:
        """The nodes that workers run on."""
        group = self._worker_group
        if group is None or not group.has_started():
            return []
        return [worker.metadata.node_id for worker in group.get_workers()]


def leave() -> None:
    """Tell the run in this worker's process to leave."""
    from ..training.agreement import told_to_leave  # only workers need it, and Lightning with it

    told_to_leave.set()


class LeaveOnSigterm(WorkerCallback):
    """After SIGTERM a worker leaves in order. Only the main thread may ask for the signal."""

    def after_init_train_context(self) -> None:
        """In the main thread of each worker, before it trains in another."""
        signal.signal(signal.SIGTERM, lambda signum, frame: leave())


class _QuietScaling(FixedScalingPolicy):
    """A fixed number of workers, which Ray's scheduler is asked for and no autoscaler beside it."""

    def _send_resource_request(self) -> None: ...

    def _maybe_send_resource_request(self) -> None: ...

    def _cancel_resource_request(self) -> None: ...


class WorkerTrainer(TorchTrainer):
    """A TorchTrainer whose driver stays awake.

    Args:
        watch: Called a few times a second with the controller and whether the run is over, from the
            thread that calls `fit`.
        **kwargs: See `TorchTrainer`.
    """

    def __init__(self, *args: Any, watch: Callable[[Any, bool], None], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._watch = watch

    def _create_default_callbacks(self) -> list[Any]:
        with warnings.catch_warnings():
            # Ray Data, which nobody uses here, warns of its own settings.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            made = super()._create_default_callbacks()
        left_out: tuple[type, ...] = (DatasetsCallback,)
        if ray.get_runtime_context().get_actor_id() is None:  # a trial ends long before its job
            left_out += (PlacementGroupCleanerCallback,)
        return [callback for callback in made if not isinstance(callback, left_out)]

    def _initialize_and_run_controller(self, **kwargs: Any) -> Result:
        if isinstance(kwargs["scaling_policy"], FixedScalingPolicy):
            kwargs["scaling_policy"] = _QuietScaling(self.scaling_config)
        here = ray.get_runtime_context().get_node_id()
        make = ray.remote(
            num_cpus=0,
            label_selector={ray._raylet.RAY_NODE_ID_KEY: here},  # pyright: ignore
            runtime_env={"env_vars": _environment()},
        )(Controller)
        controller: Any = make.remote(**kwargs)
        run = controller.run.remote()
        with DeferredSignals() as signals:
            try:
                while not ray.wait([run], timeout=0)[0]:
                    self._watch(controller, False)
                    time.sleep(ASK_EVERY_S)
                    signals.check()
                ray.get(run)
                self._watch(controller, True)
                return ray.get(controller.get_result.remote())
            except BaseException:
                self._let_leave(controller, run)
                raise
            finally:
                ray.kill(controller)

    def _let_leave(self, controller: Any, run: Any) -> None:
        """Give the workers of a run that is interrupted time to save and to write."""
        with contextlib.suppress(RayError):
            if ray.get(controller.tell_workers_to_leave.remote(), timeout=ANSWER_S):
                ray.wait([run], timeout=LEAVE_S)
            ray.wait([controller.abort.remote()], timeout=ANSWER_S)  # gives its room back


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


def start(
    function: Callable[[dict[str, Any]], Any],
    plan: Mapping[str, Any],
    launch: Launch,
    folder: Path,
    name: str,
    watch: Callable[[Any, bool], None],
) -> Any:
    """Run a function in each of several workers, as one attempt.

    Args:
        function: A function of a module, called with the plan once torch's process group is open.
        plan: Plain data.
        launch: How many workers of which shape.
        folder: A folder that all nodes share, for what Train keeps.
        name: The attempt's name.
        watch: See `WorkerTrainer`.

    Returns:
        What rank 0 returned.

    Raises:
        ray.train.WorkerGroupError: A worker raised or died.
        ray.train.ControllerError: The workers could not be started.
    """
    trainer = WorkerTrainer(
        function,
        train_loop_config=dict(plan),
        torch_config=TorchConfig(timeout_s=OPERATION_TIMEOUT_S),
        scaling_config=scaling_config(launch),
        run_config=run_config(str(folder), name),
        watch=watch,
    )
    return trainer.fit().return_value

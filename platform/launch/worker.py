"""One of several workers of a run: what each does in its own process on its own node.

It gets plain data and makes everything of it itself. Rank 0 writes the checkpoints and the metrics,
the first worker of each other node that node's load; the run itself belongs to the driver.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import SIGTERMException

from ..configuration.classes import load_class
from ..configuration.config import Config
from ..errors import PacelineError
from ..progress import EpochProgress
from ..run_context import told
from ..tracking.system import SystemMonitor
from ..tracking.writer import MetricWriter
from ..training.building import Built
from ..training.checkpoint_names import BEST
from ..training.fitting import Outcome, fit, prepare
from ..training.many_processes import arguments_of_one
from . import ray_settings as ray_settings
from .failures import WorkerFailure
from .heartbeat import Heartbeat
from .recorded import KeepPoints, train
from .starting_point import folder_here, leave_folder, starting_point
from .worker_report import NotedScreen, WorkerReport, warnings_told

import ray  # isort: skip - after `ray_settings`
import ray.train.torch  # isort: skip
from ray.train.v2._internal.execution.context import get_train_context  # isort: skip

STOP = "stop"
# How gloo and NCCL say that the other end is no longer there.
ECHOES = ("Connection closed by peer", "Connection reset by peer", "gloo/transport", "NCCL error")
LAST_WORDS_S = 3.0  # what the others get to write what they have, after one of them has raised


@dataclass(frozen=True)
class WorkerPlan:
    """What all workers of a run share, as plain data.

    Args:
        config: The config, as `Config.to_dict` gives it.
        store_uri: MLflow's store.
        run_id: MLflow's run, which exists.
        folder: The run's folder, which all nodes share unless there is a `place`.
        place: The run's place in an object store; None: all that it makes stays in the folder.
        driver_node: Id of the driver's node, whose worker has the folder in any case.
        name: The run's name.
        command: The command line, for the note.
        ckpt_path: Checkpoint to begin with, where the folder has none.
        strict_metric: Whether a deciding metric that is never logged is an error.
        log_model: Whether the best checkpoint is logged as an MLflow model too.
        takes_snapshots: Whether what a generative module makes so far is kept.
        has_pictures: Whether the run's pictures are drawn at its end.
        path: The driver's `sys.path`: a config names classes of the folder that one works in.
        working_folder: That folder.
        is_again: Whether an earlier attempt may have written into the run.
        node_names: Node's id -> name under which its load is recorded where there are several.
        reporter: `{class_path, init_args}` of a callback for rank 0 that takes `report` beside its
            arguments: a function that sends a dict to the driver and waits for its answer. Its
            `is_stopped` says whether that was to stop.
        rank_0_callbacks: `{class_path, init_args}` of further callbacks for rank 0.
        context: What the workers are part of, as `run_context.told` takes it.
    """

    config: dict[str, Any]
    store_uri: str
    run_id: str
    folder: str
    place: str | None = None
    driver_node: str = ""
    name: str = ""
    command: str = ""
    ckpt_path: str | None = None
    strict_metric: bool = False
    log_model: bool = False
    takes_snapshots: bool = False
    has_pictures: bool = True
    path: tuple[str, ...] = ()
    working_folder: str = ""
    is_again: bool = False
    node_names: Mapping[str, str] = field(default_factory=dict)
    reporter: Mapping[str, Any] | None = None
    rank_0_callbacks: Sequence[Mapping[str, Any]] = ()
    context: Mapping[str, str] = field(default_factory=dict)


def run_worker(data: dict[str, Any]) -> dict[str, Any]:
    """Train as one of several workers.

    Args:
        data: A `WorkerPlan` as a dict.

    Returns:
        `left`: whether the workers were told to leave and did so in order; else of rank 0 how the
        run ended, as `Outcome` has it, and the files `waiting` for the tracking server.

    Raises:
        WorkerFailure: Whatever the model, the data or a callback raised.
    """
    plan = WorkerPlan(**data)
    sys.path += [folder for folder in plan.path if folder not in sys.path]
    with contextlib.suppress(OSError):
        os.chdir(plan.working_folder)
    try:
        folder = folder_here(plan.folder, plan.place, plan.driver_node, plan.run_id)
        with told(**plan.context, rank=ray.train.get_context().get_world_rank()):
            outcome = _train(plan, folder)
    except SIGTERMException:
        return {"left": True}
    except BaseException as error:
        failure = describe(error)
        _let_the_others_know()
        raise failure from None
    fields = ("metrics", "checkpoint", "stop_reason", "epochs", "steps")
    context = ray.train.get_context()
    has_uploaded = context.get_world_rank() != 0 or outcome.checkpoint != str(folder / BEST)
    waiting = leave_folder(folder, Path(plan.folder), has_uploaded, context)
    ended = {name: getattr(outcome, name) for name in fields}
    return {"left": False, "waiting": waiting, **ended}


def _train(plan: WorkerPlan, folder: Path) -> Outcome:
    config = Config.from_dict(plan.config)
    context, device = ray.train.get_context(), ray.train.torch.get_device()
    checkpoint = starting_point(plan.place, folder, plan.ckpt_path, context)
    with _first_of_its_node(context.get_local_rank()):
        built = prepare(
            config,
            ckpt_path=checkpoint,
            placement=partial(arguments_of_one, config, device),
            world_size=context.get_world_size(),
        )
    rank = context.get_world_rank()
    beat = get_train_context().controller_actor.beat.remote
    told: list[Callback] = [Heartbeat(partial(beat, rank), _node_name(plan)), WorkerReport()]
    if rank == 0:
        return _lead(plan, config, folder, built, checkpoint, told)
    with _node_recorded(plan, folder, context):
        return fit(
            config,
            folder=folder,
            callbacks=[KeepPoints(None), *told],
            built=built,
            ckpt_path=checkpoint,
            strict_metric=plan.strict_metric,
        )


def _lead(
    plan: WorkerPlan,
    config: Config,
    folder: Path,
    built: Built,
    checkpoint: str | None,
    told: Sequence[Callback],
) -> Outcome:
    """What rank 0 does beside training: it records, reports and saves."""
    controller = get_train_context().controller_actor
    callbacks: list[Callback] = [EpochProgress(NotedScreen(controller))]
    callbacks += [_made(callback) for callback in plan.rank_0_callbacks]
    reporter: Any = None
    if plan.reporter is not None:
        reporter = _made(plan.reporter, report=partial(_report, controller))
        callbacks.append(reporter)
    with warnings_told(controller):
        return train(
            config,
            store_uri=plan.store_uri,
            run_id=plan.run_id,
            folder=folder,
            callbacks=[*callbacks, *told],
            built=built,
            name=plan.name,
            command=plan.command,
            ckpt_path=checkpoint,
            strict_metric=plan.strict_metric,
            log_model=plan.log_model,
            is_again=plan.is_again,
            takes_snapshots=plan.takes_snapshots,
            wants_pictures=lambda: plan.has_pictures and not (reporter and reporter.is_stopped),
            node=_node_name(plan),
            place=plan.place,
        )


def _made(described: Mapping[str, Any], **more: Any) -> Callback:
    """A callback out of its class's path and its arguments."""
    return load_class(described["class_path"], "callback")(**described["init_args"], **more)


def _report(controller: Any, result: dict[str, Any]) -> None:
    """Send a result to the driver and wait for its answer.

    Raises:
        SystemExit: The answer is to stop.
    """
    if ray.get(controller.ask.remote({"kind": "result", "result": result})) == STOP:
        raise SystemExit(0)


def _node_name(plan: WorkerPlan) -> str:
    """Under which name this node's load is recorded; empty where there is only one."""
    node_id = ray.get_runtime_context().get_node_id()
    return plan.node_names.get(node_id, node_id[:8]) if len(plan.node_names) > 1 else ""


@contextlib.contextmanager
def _node_recorded(plan: WorkerPlan, folder: Path, context: Any) -> Iterator[None]:
    """Record this node's load, unless another worker does."""
    if context.get_local_rank() != 0 or context.get_node_rank() == 0:
        yield
        return
    writer = MetricWriter(plan.store_uri, plan.run_id, folder)
    monitor = SystemMonitor(writer, node=_node_name(plan)).start()
    try:
        yield
    finally:
        monitor.stop()
        writer.close()


@contextlib.contextmanager
def _first_of_its_node(local_rank: int) -> Iterator[None]:
    """Let one worker of each node make the data's files before the others look for them."""
    if local_rank != 0:
        dist.barrier()
    yield
    if local_rank == 0:
        dist.barrier()


def _let_the_others_know() -> None:
    """Hang up on the other workers, which wait for this one, and give them time to write."""
    if dist.is_initialized():
        with contextlib.suppress(Exception):  # it may be what failed
            dist.destroy_process_group()
    time.sleep(LAST_WORDS_S)


def describe(error: BaseException) -> WorkerFailure:
    """What a worker raised, in words."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, PacelineError):
        return WorkerFailure(error.what, error.where, error.remedy, trace, False, True)
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    first = str(error).strip().partition("\n")[0]
    remedy = "\n".join(getattr(error, "__notes__", []))
    what = f"{type(error).__name__}: {first}"
    return WorkerFailure(what, where, remedy, trace, is_echo(error), False)


def is_echo(error: BaseException) -> bool:
    """Whether an error only tells that another worker of the run has gone."""
    if isinstance(error, dist.DistError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(sign in text for sign in ECHOES)

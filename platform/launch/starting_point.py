"""Where the workers of a run begin: one checkpoint, on the disk of each of their nodes.

On a folder that all nodes share rank 0 looks for the newest, and tells the others its path. With an
object store each node has a folder of its own. Rank 0 takes the newer of what its node and the
store have; if only its node has it and there are others, the store gets it first; then one worker
of each other node fetches it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist

from ..home import home
from ..storage.checkpoint_objects import CheckpointObjects, Pointer
from ..storage.going_on import bring_once, newest
from ..storage.location import parse
from ..storage.object_store import ObjectStore, unusable
from ..storage.uploader import Uploader
from ..tracking.spool_folder import FOLDER as SPOOL
from ..training.checkpoint_file import digest, newest_whole, read
from . import ray_settings as ray_settings

import ray  # isort: skip - after `ray_settings`


def folder_here(folder: str, place: str | None, driver_node: str, run_id: str) -> Path:
    """Where this worker's node keeps the files of a run.

    Args:
        folder: The run's folder on the driver's node.
        place: The run's place in an object store; None: all nodes share the folder.
        driver_node: Id of the driver's node.
        run_id: MLflow's run.
    """
    here = ray.get_runtime_context().get_node_id()
    if place is None or here == driver_node:
        return Path(folder)
    return home() / "nodes" / f"{run_id}-{here[:8]}"


def leave_folder(here: Path, drivers: Path, has_uploaded: bool, context: Any) -> dict[str, bytes]:
    """Leave nothing on a node that only this run needed.

    Args:
        here: The run's folder on this node.
        drivers: The run's folder on the driver's node.
        has_uploaded: Whether this worker's checkpoints, if it has saved any, are in the store.
        context: Ray Train's.

    Returns:
        Of rank 0 what waits for the tracking server, which the driver is to keep: file name ->
        content. Another worker's stays where it is.
    """
    if here == drivers or context.get_local_rank() != 0:
        return {}
    spool = (here / SPOOL).rglob("*")
    waiting = {p.relative_to(here).as_posix(): p.read_bytes() for p in spool if p.is_file()}
    if has_uploaded and (context.get_world_rank() == 0 or not waiting):
        shutil.rmtree(here, ignore_errors=True)
    return waiting


def keep_waiting(files: Mapping[str, bytes], drivers: Path) -> None:
    """Put what a node had left into the driver's folder.

    Args:
        files: What `leave_folder` returned.
        drivers: The run's folder on the driver's node.
    """
    for name, content in files.items():
        path = drivers / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(content)


def starting_point(
    place: str | None, folder: Path, ckpt_path: str | None, context: Any
) -> str | None:
    """The checkpoint that all workers begin with, on this node's disk; None: they begin anew.

    Args:
        place: The run's place in an object store; None: all nodes share the folder.
        folder: The run's folder on this node.
        ckpt_path: What to begin with where the run has no checkpoint.
        context: Ray Train's.

    Raises:
        UserError: The store does not answer, or what it has is not whole.
    """
    is_first = context.get_world_rank() == 0
    if place is None:
        return agreed((newest_whole(folder) if is_first else None) or ckpt_path)
    objects = CheckpointObjects(ObjectStore(parse(place)))
    has_others = context.get_local_world_size() < context.get_world_size()
    found = agreed(_found(folder, objects, has_others) if is_first else None)
    if found is None:
        return ckpt_path
    kind, pointer = found
    if not is_first and context.get_local_rank() == 0:
        bring_once(kind, pointer, folder, objects)
    dist.barrier()
    return str(folder / kind)


def _found(
    folder: Path, objects: CheckpointObjects, has_others: bool
) -> tuple[str, Pointer] | None:
    """The newest checkpoint, which the other nodes can fetch if there are any."""
    newest_here = newest(folder, objects)
    if newest_here is None:
        return None
    path = Path(newest_here)
    step = int(read(path).get("global_step", 0))
    if has_others:
        uploader = Uploader(objects, folder)
        uploader.offer(step)
        uploader.close()
        if uploader.uploaded(path.name) is None:
            reason = OSError(f"{path.name} of rank 0 is not there for the other nodes")
            raise unusable(objects.store.location, reason)
    return path.name, Pointer(digest(path), path.stat().st_size, step)


def agreed(value: Any) -> Any:
    """What rank 0 has, in all processes."""
    values = [value]
    dist.broadcast_object_list(values, 0)
    return values[0]

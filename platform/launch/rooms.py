"""Gives back the room of workers whose driver has died with its controller.

Ray keeps a placement group until its whole job ends. The actor of a trial ends long before, and may
be killed: then nobody is left who would give back what its workers had reserved. So each
controller notes in the cluster's own store whose room it has taken, and a sweep's driver looks for
rooms of the dead. Ray Train's means for this asks Ray's dashboard, which need not run.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from . import ray_settings as ray_settings

import ray  # isort: skip - after `ray_settings`
from ray._private.state import actors  # isort: skip
from ray._raylet import PlacementGroupID  # isort: skip
from ray._private.worker import global_worker  # isort: skip
from ray.train.v2._internal.execution.callback import WorkerGroupCallback  # isort: skip
from ray.util.placement_group import PlacementGroup, remove_placement_group  # isort: skip

EVERY_S = 2.0


class NoteRoom(WorkerGroupCallback):
    """In the controller: notes which placement group it has made for whom.

    Args:
        owner: Id of the actor that started the controller, in hex.
    """

    def __init__(self, owner: str):
        self.owner = owner

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Note it once it is there."""
        group = worker_group.get_worker_group_state().placement_group_handle.placement_group
        key = _prefix() + f"{self.owner}/{group.id.hex()}".encode()
        _store().internal_kv_put(key, b"", True, None)


class Rooms:
    """Looks for rooms of dead owners, every now and then."""

    def __init__(self):
        self._looked_at = 0.0

    def look(self) -> None:
        """Give back what was left, unless that was looked for a moment ago."""
        if time.monotonic() - self._looked_at > EVERY_S:
            self._looked_at = time.monotonic()
            release()


def release(wait_s: float = 0.0) -> None:
    """Give back the rooms of this job whose owners are dead.

    Args:
        wait_s: How long to wait for owners that are ending.
    """
    deadline = time.monotonic() + wait_s
    while noted := _store().internal_kv_keys(_prefix(), None):
        for key in noted:
            owner, group = key.removeprefix(_prefix()).decode().split("/")
            if actors(owner).get("State") == "DEAD":
                with contextlib.suppress(Exception):  # it may have been given back in order
                    remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(group)))
                _store().internal_kv_del(key, False, None)
        if time.monotonic() > deadline:
            return
        time.sleep(0.1)


def _store() -> Any:
    """The cluster's own key-value store, as this process is connected to it."""
    worker: Any = global_worker
    return worker.gcs_client


def _prefix() -> bytes:
    """What the names of a job's notes begin with; the rooms of other jobs are not ours to judge."""
    return f"paceline-room/{ray.get_runtime_context().get_job_id()}/".encode()


def owner_here() -> str | None:
    """The id of the actor that runs here; None in a command, whose end is its job's end."""
    return ray.get_runtime_context().get_actor_id()

"""`paceline cluster down`: end every process of the cluster, then delete every file of it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from ...platform.errors import RunError, UserError
from ...platform.signals import interruptible
from . import processes
from .cluster import HEAD, POSTGRESQL, WORKER, LocalCluster, locked, read_cluster

NONE_HERE = "There must be a cluster of this home, but there is none."


def take_down() -> tuple[LocalCluster, int]:
    """End the cluster and forget it, with its record and its objects.

    Returns:
        What it was, and how many processes were ended.

    Raises:
        UserError: There is none, or another command changes it.
        RunError: A process or a file would not go.
    """
    with locked():
        cluster = read_cluster()
        if cluster is None:
            raise UserError(NONE_HERE, "", "paceline cluster up")
        with interruptible():
            count = end_all(cluster)
            remove(cluster)
        return cluster, count


def end_all(cluster: LocalCluster, grace_s: float = 3.0) -> int:
    """End all processes: Ray first, as it writes to the others, and the database last.

    Returns:
        How many there were.
    """
    count = processes.end(cluster.id, lambda part: part.startswith((HEAD, WORKER)), grace_s=grace_s)
    count += processes.end(cluster.id, lambda part: part != POSTGRESQL, grace_s=grace_s)
    # Asked by SIGINT it closes the connections that are open, and ends in order.
    return count + processes.end(
        cluster.id, lambda _: True, signum=signal.SIGINT, grace_s=max(grace_s, 2.0)
    )


def remove(cluster: LocalCluster) -> None:
    """Delete all that lies anywhere because of the cluster, what tells of it last.

    Raises:
        RunError: Something cannot be deleted.
    """
    for folder in filter(None, (cluster.runtime, cluster.database, str(cluster.folder))):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            what = "The cluster's files must go, but some stay."
            raise RunError(what, str(error), f"rm -r {folder}") from None
        assert not Path(folder).exists()


def kill(part: str) -> int:
    """Kill a node as a machine dies: at once, with all that runs on it.

    Args:
        part: `worker-1`, ...

    Returns:
        How many processes it had.

    Raises:
        UserError: There is no cluster, or it has no such node alive.
    """
    with locked():
        cluster = read_cluster()
        if cluster is None:
            raise UserError(NONE_HERE, "", "paceline cluster up")
        living = {name for name in processes.of_cluster(cluster.id).values() if WORKER in name}
        if part not in living:
            what = f"`TARGET` must be a living worker node, but is {part!r}."
            names = ", ".join(sorted(living)) or "none lives; paceline cluster up starts them again"
            raise UserError(what, "paceline cluster kill", names)
        return processes.end(cluster.id, part.__eq__, signal.SIGKILL, grace_s=0)

"""`paceline cluster up`: start what is not up, in order; leave nothing of a start that fails."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

from ...platform.errors import UserError, must
from ...platform.ports import answers
from ...platform.signals import interruptible
from ..cluster_profile import (
    FOLDER,
    cluster_folder,
    environment,
    write_private,
    write_profile,
)
from . import postgresql, processes, ray_nodes, services
from .cluster import (
    ENVIRONMENT_FILE,
    HEAD,
    MLFLOW,
    POSTGRESQL,
    S3,
    WORKER,
    LocalCluster,
    locked,
    read_cluster,
    write_cluster,
    write_secrets,
)
from .ports import choose, one_at_a_time
from .taking_down import end_all, remove

DEFAULT_NODES = 2


def bring_up(
    nodes: int | None,
    cpus: int | None,
    ports: dict[str, int],
    tell: Callable[[str], object] = lambda line: None,
) -> tuple[LocalCluster, list[str]]:
    """Start a cluster, or what is missing of the one that there is.

    Args:
        nodes: Worker nodes beside the head; default: those there are, or 2.
        cpus: CPU cores that Ray counts on each; default: the machine's, shared out.
        ports: Service -> port that it must have.
        tell: Is called with a line for each part that is up.

    Returns:
        The cluster, and the parts that were started.

    Raises:
        UserError: A port is taken, the cluster there is cannot become what is asked for, or
            another command changes it.
        RunError: A part does not start.
    """
    with locked(), interruptible():
        cluster = read_cluster()
        if cluster is not None and not (cluster.folder / ENVIRONMENT_FILE).exists():
            end_all(cluster)  # of a start that was killed
            remove(cluster)
            cluster = None
        if cluster is not None:
            cluster = _changed(cluster, nodes, cpus, ports)
            return cluster, _start_missing(cluster, tell)
        _refuse_a_home_that_is_in_use()
        with one_at_a_time():
            cluster = _prepare(nodes or DEFAULT_NODES, cpus, choose(ports))
            try:
                started = _start_missing(cluster, tell)
                _write_environment(cluster)
            except BaseException:
                end_all(cluster, grace_s=0)
                remove(cluster)
                raise
        return cluster, started


def _refuse_a_home_that_is_in_use() -> None:
    folder = cluster_folder()
    if folder.exists() and any(folder.iterdir()):
        what = f"`{FOLDER}` in the home must be the cluster's own folder, but holds other things."
        raise UserError(what, str(folder), f"look at it, then: rm -r {folder}")


def _prepare(nodes: int, cpus: int | None, ports: dict[str, int]) -> LocalCluster:
    """Make folders and secrets; nothing runs yet."""
    folder = cluster_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    has_database = postgresql.is_installed()
    cluster = LocalCluster(
        id=secrets.token_hex(16),
        nodes=nodes,
        cpus=cpus or max(1, (os.cpu_count() or 1) // nodes),
        ports=ports,
        runtime=tempfile.mkdtemp(prefix="paceline-", dir=_short_folder()),
        database=postgresql.make_folder(folder) if has_database else "",
        has_object_store=services.has_s3_double(),
    )
    write_cluster(cluster)
    write_secrets(cluster)
    if not cluster.has_object_store:
        (folder / "storage").mkdir(exist_ok=True)
    write_profile(cluster.profile(), folder)
    return cluster


def _short_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 20 else "/tmp"  # else sockets' names become too long


def _changed(
    cluster: LocalCluster, nodes: int | None, cpus: int | None, ports: dict[str, int]
) -> LocalCluster:
    """The cluster as it is asked for now; it may only gain nodes."""
    for flag, value, given in (
        ("--cpus", cluster.cpus, cpus),
        *((f"--{name}-port", cluster.ports[name], port) for name, port in ports.items()),
    ):
        if given is not None and given != value:
            remedy = "leave it out, or begin anew: paceline cluster down"
            raise UserError(must(flag, f"{value}, as the cluster is up", given), flag, remedy)
    if nodes is None or nodes == cluster.nodes:
        return cluster
    if nodes < cluster.nodes:
        remedy = f"paceline cluster kill {WORKER}-{cluster.nodes}, or begin anew"
        raise UserError(must("--nodes", f">= {cluster.nodes}, as these are up", nodes), "", remedy)
    cluster = dataclasses.replace(cluster, nodes=nodes)
    write_cluster(cluster)
    return cluster


def is_alive(cluster: LocalCluster, part: str) -> bool:
    """Whether a part of the cluster does its work."""
    if part == POSTGRESQL:
        return postgresql.answers(cluster)
    if part in (S3, MLFLOW):
        own = any(name == part for name in processes.of_cluster(cluster.id).values())
        return own and answers(cluster.ports[part])
    alive = ray_nodes.is_alive(cluster, part)
    if part == HEAD:
        return alive and answers(cluster.ports["gcs"]) and answers(cluster.ports["dashboard"])
    return alive


def _start_missing(cluster: LocalCluster, tell: Callable[[str], object]) -> list[str]:
    """Start the parts that are not alive: those at once that do not need each other.

    MLflow writes to the database and the store, a worker joins the head.
    """
    dead = [part for part in cluster.parts if not is_alive(cluster, part)]
    if HEAD in dead:  # workers do not outlive their head
        dead = [part for part in cluster.parts if part in dead or part.startswith(WORKER)]
    processes.end(cluster.id, lambda part: part in dead, grace_s=3)  # what dead ones left behind
    for stage in ((POSTGRESQL, S3), (MLFLOW, HEAD), (WORKER,)):
        _start_at_once(cluster, [part for part in dead if part.startswith(stage)], tell)
    return dead


def _start_at_once(cluster: LocalCluster, parts: list[str], tell: Callable[[str], object]) -> None:
    """Start some parts beside each other."""
    if not parts:
        return
    pool = ThreadPoolExecutor(min(len(parts), 4))
    begin = time.monotonic()
    try:
        starting = {pool.submit(_starter(part), cluster): part for part in parts}
        for done in as_completed(starting):
            done.result()
            tell(f"{starting[done]}: up after {time.monotonic() - begin:.1f} s")
    except BaseException:  # the others end as soon as what they wait for does
        pool.shutdown(wait=False, cancel_futures=True)
        processes.end(cluster.id, lambda part: part in parts, grace_s=0)
        pool.shutdown()
        raise
    pool.shutdown()


def _starter(part: str) -> Callable[[LocalCluster], None]:
    known = {
        POSTGRESQL: postgresql.start_postgresql,
        S3: services.start_s3,
        MLFLOW: services.start_mlflow,
        HEAD: ray_nodes.start_head,
    }
    return known.get(part) or (lambda cluster: ray_nodes.start_worker(cluster, part))


def _write_environment(cluster: LocalCluster) -> None:
    """The file that a shell sources; it stands once the cluster is whole."""
    profile = cluster.profile()
    values = {**environment(profile), "PACELINE_STORAGE": profile.storage}
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    lines.insert(0, "# What a shell needs to use the cluster; it holds secrets.")
    write_private(cluster.folder / ENVIRONMENT_FILE, "\n".join([*lines, ""]))

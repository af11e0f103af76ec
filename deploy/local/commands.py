"""`paceline cluster up`, `down`, `status`, `env` and `kill`, as a person and a script see them."""

from __future__ import annotations

import os
import sys
from typing import Any

from ...platform.arguments import Arguments
from ...platform.errors import PacelineError, UserError, must
from ...platform.ports import answers
from ...platform.tables import table
from . import processes
from .bringing_up import bring_up, is_alive
from .cluster import ENVIRONMENT_FILE, HEAD, WORKER, LocalCluster, read_cluster
from .postgresql import socket_folder
from .taking_down import NONE_HERE, kill, take_down

Answer = tuple[Any, str, int]
PORTS = ("gcs", "dashboard", "mlflow", "s3")


def up(arguments: Arguments) -> Answer:
    """Start the cluster, or what is missing of it, and tell where it is.

    Raises:
        UserError: As `bring_up`, or a flag is out of its range.
        RunError: As `bring_up`.
    """
    _no_target(arguments)
    options = arguments.options
    nodes, cpus = options.get("nodes"), options.get("cpus")
    if nodes is not None and nodes > 64:
        raise UserError(must("--nodes", "an integer from 1 to 64", nodes), "--nodes")
    ports = {n: options[f"{n}_port"] for n in PORTS if options.get(f"{n}_port") is not None}
    cluster, started = bring_up(nodes, cpus, ports, _show)
    profile = cluster.profile()
    answer = {
        "state": "up",
        "started": started,
        "nodes": cluster.nodes,
        "cpus": cluster.cpus,
        "address": profile.address,
        "dashboard": profile.jobs_address,
        "mlflow": profile.tracking_uri,
        "storage": profile.storage,
        "database": "postgresql" if cluster.database else "sqlite",
        "environment": str(cluster.folder / ENVIRONMENT_FILE),
    }
    return answer, "\n".join(_told(cluster, started)), 0


def _show(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _told(cluster: LocalCluster, started: list[str]) -> list[str]:
    """What `up` prints: the state in a line, links, and what to do next."""
    profile = cluster.profile()
    missing = set(cluster.parts) - set(started)
    first = "The cluster is up" if started else "The cluster is up already"
    if started and missing:
        first = f"The cluster is up again, with {', '.join(started)} started anew"
    cores = f"{cluster.cpus} CPU core" + "s" * (cluster.cpus != 1)
    nodes = f"{cluster.nodes} worker node" + "s" * (cluster.nodes != 1)
    database = "PostgreSQL" if cluster.database else "SQLite, as PostgreSQL is not installed"
    store = "moto's S3, in memory: it ends with the cluster"
    if not cluster.has_object_store:
        store = "a folder, as there is no S3 double: pip install 'moto[s3]' boto3"
    return [
        f"{first}: a head and {nodes} of {cores} each.",
        f"  Ray      {profile.jobs_address}  token in {profile.token_path}",
        f"  MLflow   {profile.tracking_uri}  account {profile.tracking_username}, password in "
        f"{profile.tracking_password_path}  ({database})",
        f"  storage  {profile.storage}  ({store})",
        "",
        'To use it in this shell:  set -a; . "$(paceline cluster env)"; set +a',
        'A sweep on it:            paceline sweep mlp --address auto --storage "$PACELINE_STORAGE"',
        "To end it, record and all: paceline cluster down",
    ]


def down(arguments: Arguments) -> Answer:
    """End the cluster and delete what is its own.

    Raises:
        UserError: As `take_down`, or something runs on it and nobody says `--force`.
        RunError: As `take_down`.
    """
    _no_target(arguments)
    if not arguments.flag("force"):
        _see_that_nothing_runs()
    cluster, count = take_down()
    text = f"The cluster is down: {count} processes ended, {cluster.folder} deleted."
    return {"state": "down", "processes": count}, text, 0


def _see_that_nothing_runs() -> None:
    """Its record ends with the cluster, so whoever still works on it would lose all of it.

    Raises:
        UserError: Somebody does.
    """
    cluster = read_cluster()
    if cluster is None or not answers(cluster.ports["dashboard"]):
        return
    from ..jobs.cluster import Jobs, find_cluster  # Ray takes its time to import
    from ..jobs.job import what_runs

    try:
        found = what_runs(Jobs(find_cluster(cluster.url("dashboard"))))
    except PacelineError:  # a head that is ill does not keep its cluster up
        return
    if found:
        what = (
            f"Nothing must run on a cluster that is taken down, but there is: {', '.join(found)}."
        )
        remedy = "paceline cancel JOB, or lose it with its record: paceline cluster down --force"
        raise UserError(what, cluster.url("dashboard"), remedy)


def status(arguments: Arguments) -> Answer:
    """Which parts live; exit code 1 where one does not.

    Raises:
        UserError: There is no cluster.
    """
    _no_target(arguments)
    cluster = _known()
    found = processes.of_cluster(cluster.id)
    rows, parts = [], []
    for part in cluster.parts:
        numbers = sorted(process.pid for process, name in found.items() if name == part)
        alive = is_alive(cluster, part)
        where = _where(cluster, part)
        parts.append({"name": part, "alive": alive, "where": where, "processes": numbers})
        shown = str(len(numbers)) if numbers else "-"
        rows.append([part, "alive" if alive else "dead", where, shown])
    whole = all(row["alive"] for row in parts)
    living = sum(row["alive"] for row in parts if row["name"].startswith(WORKER))
    lines = [table(["part", "state", "where", "processes"], rows, "<<<>")]
    lines += ["", f"{living} of {cluster.nodes} worker nodes are alive."]
    if not whole:
        lines.append("To start again what is dead: paceline cluster up")
    answer = {"state": "up" if whole else "broken", "parts": parts}
    return answer, "\n".join(lines), 0 if whole else 1


def _where(cluster: LocalCluster, part: str) -> str:
    if part in cluster.ports:
        return cluster.url(part)
    if part == HEAD:
        return f"{cluster.profile().address}, {cluster.url('dashboard')}"
    if part.startswith(WORKER):
        return f"{cluster.cpus} CPU"
    return f"a socket in {socket_folder(cluster)}"


def environment_file(arguments: Arguments) -> Answer:
    """The path of what a shell sources.

    Raises:
        UserError: There is no cluster.
    """
    _no_target(arguments)
    path = str(_known().folder / ENVIRONMENT_FILE)
    return {"environment": path}, path, 0


def kill_node(arguments: Arguments) -> Answer:
    """Kill a worker node, as a machine dies.

    Raises:
        UserError: No such node.
    """
    part = arguments.positional["TARGET"]
    if part is None:
        usage = f"paceline cluster kill {WORKER}-1; paceline cluster status names them"
        raise UserError("`TARGET` must be given, but is missing.", "paceline cluster kill", usage)
    count = kill(part)
    text = f"{part} is dead, with its {count} processes. paceline cluster up starts it again."
    return {"killed": part, "processes": count}, text, 0


def _known() -> LocalCluster:
    cluster = read_cluster()
    if cluster is None or not (cluster.folder / ENVIRONMENT_FILE).exists():
        raise UserError(
            NONE_HERE, os.fspath(cluster.folder) if cluster else "", "paceline cluster up"
        )
    return cluster


def _no_target(arguments: Arguments) -> None:
    if (target := arguments.positional.get("TARGET")) is not None:
        action = arguments.positional["ACTION"]
        raise UserError(f"`cluster {action}` must have no TARGET, but has {target!r}.")


ACTIONS = {"up": up, "down": down, "status": status, "env": environment_file, "kill": kill_node}

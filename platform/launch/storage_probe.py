"""Can every node of a cluster write into the run's folder, and read what the driver wrote there?

Asked before anything starts: a worker on a node without it would train and lose its checkpoints.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from ..configuration.config import Config
from ..errors import UserError, must
from ..home import home
from ..tracking.uri import resolve_uri, sqlite_path
from . import ray_settings as ray_settings

import ray  # isort: skip - after `ray_settings`
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # isort: skip

TIMEOUT_S = 60.0


def check_storage(config: Config, folder: Path, num_nodes: int) -> None:
    """Refuse a place for a run's or a sweep's files that not every node of the cluster has.

    Args:
        config: Its config.
        folder: Its folder, which exists here.
        num_nodes: How many nodes the cluster has.

    Raises:
        UserError: As `check_relative` and `probe`.
    """
    check_relative(config.launch.storage, num_nodes)
    store = sqlite_path(resolve_uri(config.tracking.uri, home()))
    if store is not None:
        store.parent.mkdir(parents=True, exist_ok=True)
    probe([folder, *([store.parent] if store else [])])


def check_relative(storage: str | None, num_nodes: int) -> None:
    """Refuse a relative folder where the nodes would each take it for another.

    Raises:
        UserError: It is relative, and there are several nodes.
    """
    if storage and num_nodes > 1 and not Path(storage).expanduser().is_absolute():
        rule = f"an absolute folder that all {num_nodes} nodes share"
        remedy = f"--storage {Path(storage).absolute()}, if the nodes have that in common"
        raise UserError(must("--storage", rule, storage), "--storage", remedy)


def probe(folders: Sequence[Path], timeout_s: float = TIMEOUT_S) -> None:
    """Write and read in folders from each node but this process's own.

    Args:
        folders: Folders that all nodes must share; they exist here.
        timeout_s: How long a node may take to answer.

    Raises:
        UserError: A node does not see a folder, cannot write into it, or does not answer.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    for folder in folders if others else []:
        _probe_folder(folder, others, timeout_s)


def _probe_folder(folder: Path, nodes: Sequence[dict], timeout_s: float) -> None:
    token = secrets.token_hex(8)
    ours = folder / f".probe-{token}"
    ours.write_text(token)
    asked = {
        ray.remote(num_cpus=0)(write_and_read)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote(str(ours)): node
        for node in nodes
    }
    try:
        answered, silent = ray.wait([*asked], num_returns=len(asked), timeout=timeout_s)
        failures = {asked[ref]["NodeID"]: f"no answer in {timeout_s:g} s" for ref in silent}
        for ref in answered:
            node = asked[ref]["NodeID"]
            try:
                answer = ray.get(ref)
            except Exception as error:  # the node may have gone
                answer = str(error).strip().partition("\n")[0]
            reply = ours.with_name(f"{ours.name}-{node}")
            if answer != token or not reply.exists() or reply.read_text() != token:
                failures[node] = answer if answer != token else "what it wrote is not here"
    finally:
        for path in folder.glob(f"{ours.name}*"):
            path.unlink(missing_ok=True)
    if failures:
        hosts = {n["NodeID"]: f"{n['NodeManagerHostname']} ({n['NodeID'][:8]})" for n in nodes}
        told = "; ".join(f"{hosts[node]}: {why}" for node, why in failures.items())
        rule = "a folder that every node of the cluster can write and read"
        raise UserError(must("--storage", rule, str(folder)), told, "--storage /a/shared/folder")


def write_and_read(path: str) -> str:
    """On a node: what stands in the driver's file, after writing the same beside it."""
    try:
        token = Path(path).read_text()
        node = ray.get_runtime_context().get_node_id()
        Path(f"{path}-{node}").write_text(token)
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror}"
    return token

"""Can every node of a cluster write where the run's files go, and read what the driver wrote there?

Asked before anything starts: a worker on a node without it would train and lose its checkpoints.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..configuration.config import Config
from ..errors import UserError, must
from ..home import home
from ..storage.location import parse, place_of
from ..storage.object_store import ObjectStore, told, unusable
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
        UserError: As `check_relative`, `probe` and `probe_store`.
    """
    storage = config.launch.storage
    place = place_of(storage)
    if place is None:
        check_relative(storage, num_nodes)
        probe(folder, "--storage", "--storage /a/shared/folder, or s3://bucket/prefix")
    else:
        probe_store(place)
    store = sqlite_path(resolve_uri(config.tracking.uri, home()))
    if store is not None:
        store.parent.mkdir(parents=True, exist_ok=True)
        probe(store.parent, "--tracking-uri", "--tracking-uri http://host:5000, which all reach")


def check_relative(storage: str | None, num_nodes: int) -> None:
    """Refuse a relative folder where the nodes would each take it for another.

    Raises:
        UserError: It is relative, and there are several nodes.
    """
    if storage and num_nodes > 1 and not Path(storage).expanduser().is_absolute():
        rule = f"an absolute folder that all {num_nodes} nodes share"
        remedy = f"--storage {Path(storage).absolute()}, if the nodes have that in common"
        raise UserError(must("--storage", rule, storage), "--storage", remedy)


def probe(folder: Path, flag: str, remedy: str, timeout_s: float = TIMEOUT_S) -> None:
    """Write and read in a folder from each node but this process's own.

    Args:
        folder: A folder that all nodes must share; it exists here.
        flag: What says where it is.
        remedy: What helps where they do not.
        timeout_s: How long a node may take to answer.

    Raises:
        UserError: A node does not see it, cannot write into it, or does not answer.
    """
    if not (nodes := _other_nodes()):
        return
    token = secrets.token_hex(8)
    ours = folder / f".probe-{token}"
    ours.write_text(token)

    def is_replied(node: str) -> bool:
        reply = ours.with_name(f"{ours.name}-{node}")
        return reply.exists() and reply.read_text() == token

    try:
        question = (str(ours),)
        reasons = _failures(write_and_read, question, token, is_replied, nodes, timeout_s)
    finally:
        for path in folder.glob(f"{ours.name}*"):
            path.unlink(missing_ok=True)
    if reasons:
        rule = "a folder that every node of the cluster can write and read"
        raise UserError(must(flag, rule, str(folder)), reasons, remedy)


def probe_store(place: str, timeout_s: float = TIMEOUT_S) -> None:
    """Write and read in an object store from each node but this process's own.

    Args:
        place: The storage's whole address.
        timeout_s: How long a node may take to answer.

    Raises:
        UserError: A node does not reach it, may not write into it, or does not answer.
    """
    if not (nodes := _other_nodes()):
        return
    token, store = secrets.token_hex(8), ObjectStore(parse(place))
    ours = f".probe-{token}"
    try:
        store.put(ours, token.encode())

        def is_replied(node: str) -> bool:
            return store.get(f"{ours}-{node}") == token.encode()

        question = (place, ours)
        reasons = _failures(write_and_read_object, question, token, is_replied, nodes, timeout_s)
        for name in (ours, *(f"{ours}-{node['NodeID']}" for node in nodes)):
            store.delete(name)
    except OSError as error:
        raise unusable(store.location, error) from None
    if reasons:
        rule = "an object store that every node of the cluster can write and read"
        remedy = "credentials on every node: AWS_ACCESS_KEY_ID where its Ray starts, or ~/.aws"
        raise UserError(must("--storage", rule, store.location.plain_uri), reasons, remedy)


def _other_nodes() -> list[dict[str, Any]]:
    here = ray.get_runtime_context().get_node_id()
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]


def _failures(
    function: Callable[..., str],
    question: tuple[str, ...],
    token: str,
    is_replied: Callable[[str], bool],
    nodes: Sequence[dict[str, Any]],
    timeout_s: float,
) -> str:
    """What nodes cannot do, and why, in one line; empty when all can."""
    asked = {
        ray.remote(num_cpus=0)(function)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote(*question): node["NodeID"]
        for node in nodes
    }
    answered, silent = ray.wait([*asked], num_returns=len(asked), timeout=timeout_s)
    failures = {asked[ref]: f"no answer in {timeout_s:g} s" for ref in silent}
    for ref in answered:
        try:
            answer = ray.get(ref)
        except Exception as error:  # the node may have gone
            answer = str(error).strip().partition("\n")[0]
        if answer != token or not is_replied(asked[ref]):
            failures[asked[ref]] = answer if answer != token else "what it wrote is not here"
    hosts = {n["NodeID"]: f"{n['NodeManagerHostname']} ({n['NodeID'][:8]})" for n in nodes}
    return "; ".join(f"{hosts[node]}: {why}" for node, why in failures.items())


def write_and_read_object(place: str, name: str) -> str:
    """On a node: what stands in the driver's object, after writing the same beside it."""
    store, node = ObjectStore(parse(place)), ray.get_runtime_context().get_node_id()
    try:
        found = store.get(name) or b""
        store.put(f"{name}-{node}", found)
    except OSError as error:
        return told(error)
    return found.decode(errors="replace")


def write_and_read(path: str) -> str:
    """On a node: what stands in the driver's file, after writing the same beside it."""
    try:
        token = Path(path).read_text()
        node = ray.get_runtime_context().get_node_id()
        Path(f"{path}-{node}").write_text(token)
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror}"
    return token

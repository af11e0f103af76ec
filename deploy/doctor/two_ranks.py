"""The row of the all-reduce: two ranks on two nodes, or beside each other on one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import on_node, ranks
from .machine import Deadline, ThisMachine
from .row import FAIL, OK, Row

if TYPE_CHECKING:
    from .cluster import RayCluster

NAME = "all-reduce"
_REMEDY = (
    "GLOO_SOCKET_IFNAME (NCCL_SOCKET_IFNAME with GPUs) names the network that the nodes share; "
    "open its ports between them"
)


def look_at_all_reduce(site: ThisMachine | RayCluster, timeout_s: float) -> Row:
    """Add a tensor up over two ranks."""
    deadline = Deadline(timeout_s)
    if isinstance(site, ThisMachine):
        return _row(_here(site, deadline), "two processes here")
    pair = _pair(site)
    if not pair:
        return Row(NAME, FAIL, "no node answers", "ray status")
    host = site.address(pair[0])
    asked = site.ask_each(ranks.free_port, {pair[0]: (host,)}, deadline.left_s)
    if asked.silent:
        return Row(NAME, FAIL, "; ".join(asked.silent.values()), _REMEDY)
    port, machines = asked.by_node[pair[0]], "two" if len(pair) > 1 else "one"
    if len(pair) == 1:
        return _row(_both_on(site, pair[0], host, port, deadline), f"two processes on {pair[0]}")
    backend = _backend(site, pair, deadline)
    given = {
        node: (rank, host, port, backend, machines, deadline.left_s)
        for rank, node in enumerate(pair)
    }
    answers = site.ask_each(ranks.all_reduce, given, deadline.left_s + 5, lambda a: "error" in a)
    told = [*answers.by_node.values(), *({"error": why} for why in answers.silent.values())]
    return _row((backend, told), " and ".join(pair))


def _pair(site: RayCluster) -> list[str]:
    """Two nodes that train, at two addresses where that can be had."""
    rooms = [node for node in site.nodes if site.resources[node].get("CPU", 0) > 0]
    nodes = [*rooms, *(node for node in site.nodes if node not in rooms)]
    return nodes[:2]


def _backend(site: RayCluster, pair: list[str], deadline: Deadline) -> str:
    """`nccl` where both have a GPU that torch can use."""
    if any(site.resources[node].get("GPU", 0) < 1 for node in pair):
        return "gloo"
    answers = site.ask_each(on_node.graphics, {node: () for node in pair}, deadline.left_s)
    can = [answers.by_node.get(node, {}).get("torch") for node in pair]
    return "nccl" if all(can) else "gloo"


def _here(site: ThisMachine, deadline: Deadline) -> tuple[str, list[dict[str, Any]]]:
    found = site.ask(on_node.graphics, timeout_s=deadline.left_s).by_node.get(site.name, {})
    backend = "nccl" if (found.get("torch") or 0) > 1 else "gloo"
    host, limit = "127.0.0.1", deadline.left_s
    return backend, ranks.both(host, ranks.free_port(host), backend, "one", limit)


def _both_on(
    site: RayCluster, node: str, host: str, port: int, deadline: Deadline
) -> tuple[str, list[dict[str, Any]]]:
    given = (host, port, "gloo", "one", deadline.left_s)
    answers = site.ask_each(ranks.both, {node: given}, deadline.left_s + 5)
    return "gloo", answers.by_node.get(node, [{"error": answers.silent.get(node)}])


def _row(told: tuple[str, list[dict[str, Any]]], where: str) -> Row:
    backend, answers = told
    errors = dict.fromkeys(str(one["error"]) for one in answers if "error" in one)
    if errors:
        return Row(NAME, FAIL, f"{backend} between {where}: {'; '.join(errors)}", _REMEDY)
    if any(one["sum"] != 3 for one in answers):
        sums = [one["sum"] for one in answers]
        return Row(NAME, FAIL, f"{backend} between {where}: 1 + 2 came to {sums}", _REMEDY)
    spent = 1000 * max(one["seconds"] for one in answers)
    return Row(NAME, OK, f"{backend} between {where}: 4 MB in {spent:.1f} ms")

"""Data sets on all nodes: whole, and the same ones wherever trials may train. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .row import FAIL, OK, Finding

_FINE = ("verified", "found")
Sets = Sequence[Mapping[str, Any]]


def judge_data(by_node: Mapping[str, Sets], training: Sequence[str]) -> dict[str, list[Finding]]:
    """Node -> what is wrong with the data sets there.

    Args:
        by_node: Node -> its data sets as `paceline data verify` tells them.
        training: The nodes that have room for trials; the others need no data.
    """
    found = {node: _damaged(sets) for node, sets in by_node.items()}
    there = {node: _present(by_node[node]) for node in training if node in by_node}
    anywhere = set[str]().union(*there.values())
    for node, names in there.items():
        damaged = {s["name"] for s in by_node[node] if s["state"] not in (*_FINE, "missing")}
        if lacking := sorted(anywhere - names - damaged):
            text = f"{', '.join(lacking)} missing, which other nodes have"
            remedy = f"on that node: paceline data get {lacking[0]}, or share $PACELINE_DATA"
            found[node].append(Finding(FAIL, text, remedy))
    for node, findings in found.items():
        if not findings:
            findings.append(_well(by_node[node]))
    return found


def _damaged(sets: Sets) -> list[Finding]:
    remedy = "delete the file and run `paceline data get` for its set"
    return [
        Finding(FAIL, f"{one['name']}: {one['state']}", remedy)
        for one in sets
        if one["state"] not in (*_FINE, "missing")
    ]


def _present(sets: Sets) -> set[str]:
    return {one["name"] for one in sets if one["state"] in _FINE}


def _well(sets: Sets) -> Finding:
    missing = sorted(one["name"] for one in sets if one["state"] == "missing")
    text = f"{len(_present(sets))} data sets whole, by their SHA-256"
    return Finding(OK, text + (f" ({', '.join(missing)} not here)" if missing else ""))

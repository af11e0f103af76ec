"""The doctor from its first question to its last row."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import on_node
from .examination import Examination, looked
from .machine import ThisMachine, within
from .row import FAIL, OK, SKIPPED, Row, counts
from .subject import Subject, credentials_of

if TYPE_CHECKING:
    from .cluster import RayCluster

SLACK_S = 10.0  # beyond what the nodes get, so that a row can name who is silent
STOP_S = 15.0


@dataclass(frozen=True)
class Diagnosis:
    """All rows.

    Args:
        rows: In the order in which they were looked at.
        nodes: The nodes that answered; empty without a cluster.
        address: The cluster's address; None: this machine alone.
        seconds: How long it took.
    """

    rows: list[Row]
    nodes: list[str]
    address: str | None
    seconds: float

    @property
    def is_well(self) -> bool:
        """Whether no row is red."""
        return all(row.state != FAIL for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "ok": self.is_well,
            "address": self.address,
            "nodes": self.nodes,
            "counts": counts(self.rows),
            "rows": [row.as_dict() for row in self.rows],
            "seconds": round(self.seconds, 1),
        }


def diagnose(subject: Subject, told: Callable[[str], object] = lambda name: None) -> Diagnosis:
    """Look at everything.

    Args:
        subject: What is looked at.
        told: Called with each row's name before it is looked at.
    """
    started, rows, nodes = time.monotonic(), list[Row](), list[str]()
    with credentials_of(subject.profile), _site(subject, rows, told) as site:
        examination = Examination(subject, site)
        for name, look in examination.rows():
            told(name)
            rows.append(looked(name, look, subject.timeout_s + SLACK_S))
        if site.is_cluster:
            nodes = site.nodes
    return Diagnosis(rows, nodes, subject.address, time.monotonic() - started)


@contextlib.contextmanager
def _site(
    subject: Subject, rows: list[Row], told: Callable[[str], object]
) -> Iterator[ThisMachine | RayCluster]:
    """The cluster and its nodes, or this machine where there is none; the first two rows."""
    if subject.address is None:
        rows.append(Row("cluster", SKIPPED, "this machine alone (--address for a cluster)"))
        yield ThisMachine()
        return
    told("cluster")
    from ...platform.launch.ray_session import RaySession
    from .cluster import RayCluster, living

    session = RaySession(subject.address)
    session.__enter__()
    nodes, error = within(subject.timeout_s, living, session)
    if error is not None:
        rows.append(_unreachable(subject.address, error))
        yield ThisMachine()  # what can be seen from here is looked at all the same
    else:
        cluster = RayCluster(nodes)
        rows.append(Row("cluster", OK, f"{len(nodes)} node(s) at {subject.address}"))
        told("nodes")
        rows.append(looked("nodes", lambda: _awake(cluster, subject.timeout_s), 1e9))
        yield cluster
    session.stop_soon()
    within(1.0 if error is not None else STOP_S, session.stop)


def _unreachable(address: str, error: str) -> Row:
    remedy = "ray start --head, paceline cluster up with the variables of paceline cluster env, or "
    remedy += "another --address; RAY_AUTH_MODE=token and its token in RAY_AUTH_TOKEN_PATH where "
    remedy += "the cluster wants one"
    return Row("cluster", FAIL, f"{address}: {error}", remedy)


def _awake(cluster: RayCluster, timeout_s: float) -> Row:
    """Whether every node answers; those that do not are asked nothing more."""
    answers = cluster.ask(on_node.ping, timeout_s=timeout_s)
    cluster.silent |= answers.silent
    if not answers.silent:
        return Row("nodes", OK, f"all {len(answers.by_node)} answer")
    found = "; ".join(f"{node}: {why}" for node, why in answers.silent.items())
    remedy = "see whether it is alive (ray status) and read its logs in /tmp/ray/session_latest"
    return Row("nodes", FAIL, found, remedy)

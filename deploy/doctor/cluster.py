"""A Ray cluster as the doctor asks it: a task pinned to each node, that reserves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...platform.launch.ray_session import RaySession, ray
from . import on_node, ranks
from .machine import Answers, Deadline

from ray import cloudpickle  # isort: skip - after `ray_session`
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # isort: skip


class RayCluster:
    """The living nodes of a cluster that this process is connected to.

    Args:
        nodes: What `ray.nodes()` says of them.
    """

    is_cluster = True

    def __init__(self, nodes: list[dict[str, Any]]):
        # Several nodes of one machine have one host name; the ids tell them apart.
        self._ids = {f"{n['NodeManagerHostname']} ({n['NodeID'][:8]})": n["NodeID"] for n in nodes}
        self._node_of = dict(zip(self._ids, nodes, strict=True))
        self.silent: dict[str, str] = {}

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes that answer."""
        return [name for name in self._ids if name not in self.silent]

    @property
    def resources(self) -> dict[str, Mapping[str, float]]:
        """Node -> what Ray promises of it."""
        return {name: node["Resources"] for name, node in self._node_of.items()}

    def address(self, node: str) -> str:
        """The address at which other nodes reach one."""
        return self._node_of[node]["NodeManagerAddress"]

    def ask(self, function: Callable[..., Any], *arguments: Any, timeout_s: float) -> Answers:
        """Ask every node that has not been silent."""
        return self.ask_each(function, {node: arguments for node in self.nodes}, timeout_s)

    def ask_each(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, tuple[Any, ...]],
        timeout_s: float,
        fails: Callable[[Any], bool] | None = None,
    ) -> Answers:
        """Ask some nodes, each with arguments of its own.

        Args:
            function: What each runs.
            arguments: Node -> the function's arguments there.
            timeout_s: How long they may take, all together.
            fails: Of an answer, whether it makes those of the others worthless, which then are not
                waited for; None: each answer is worth as much as any.
        """
        # A worker that is ended with the question before may have been given this one already.
        remote = ray.remote(num_cpus=0, max_retries=2)(function)
        with _by_value():
            asked = {
                self._pin(remote, node).remote(*given): node for node, given in arguments.items()
            }
        answers, deadline, late = Answers(), Deadline(timeout_s), [*asked]
        while late and not (fails and _is_hopeless(answers, fails)):
            done, late = ray.wait(late, num_returns=1, timeout=deadline.left_s)
            for ref in done:
                self._take(asked[ref], ref, answers)
            if not done:
                answers.silent |= {asked[ref]: f"no answer in {timeout_s:.3g} s" for ref in late}
                break
        for ref in late:
            ray.cancel(ref, force=True)
        return answers

    def _take(self, node: str, ref: Any, answers: Answers) -> None:
        try:
            answers.by_node[node] = ray.get(ref)
        except Exception as error:  # the node may have gone, or it says what it lacks
            cause = getattr(error, "cause", None) or error
            line = str(cause).strip().partition("\n")[0]
            answers.silent[node] = f"{type(cause).__name__}: {line}"

    def _pin(self, remote: Any, node: str) -> Any:
        strategy = NodeAffinitySchedulingStrategy(self._ids[node], soft=False)
        return remote.options(scheduling_strategy=strategy)


def _is_hopeless(answers: Answers, fails: Callable[[Any], bool]) -> bool:
    return bool(answers.silent) or any(map(fails, answers.by_node.values()))


@contextlib.contextmanager
def _by_value() -> Iterator[None]:
    """Ship the functions that nodes run whole: a node may lack this package."""
    for module in (on_node, ranks):
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in (on_node, ranks):
            cloudpickle.unregister_pickle_by_value(module)


def living(session: RaySession) -> list[dict[str, Any]]:
    """The living nodes of a session's cluster.

    Raises:
        UserError: There is no cluster at its address.
    """
    session.nodes()
    return [node for node in ray.nodes() if node["Alive"]]

"""Train's controller with a few methods more, and what it tells its workers.

It carries words between the workers and the driver, and what they are to train.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from . import ray_settings as ray_settings
from .standstill import Beat

from ray.train.v2._internal.execution.callback import WorkerCallback  # isort: skip
from ray.train.v2._internal.execution.controller import TrainController  # isort: skip
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy  # isort: skip


class Controller(TrainController):
    """Train's controller, which also carries words between the workers and the driver."""

    def __init__(self, *args: Any, **kwargs: Any):
        self._notes: list[dict[str, Any]] = []
        self._beats: dict[int, Beat] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._given: tuple[int, dict[str, Any] | None] = (-1, None)
        self._takers: set[int] = set()  # ranks that took what was given last
        self._is_given = asyncio.Event()
        super().__init__(*args, **kwargs)

    async def give(self, number: int, plan: dict[str, Any] | None) -> None:
        """The driver gives the workers something to train; None: there is no more."""
        self._given, self._takers = (number, plan), set()
        self._is_given.set()

    async def take(self, rank: int, done: int) -> tuple[int, dict[str, Any] | None, bool]:
        """What a worker is to train next.

        Args:
            rank: The worker's.
            done: Number of what it has trained last.

        Returns:
            Its number, the plan, and whether this rank was given it before: in a process that has
            gone, because the number of workers has changed.
        """
        while self._given[0] <= done:
            self._is_given.clear()
            await self._is_given.wait()
        is_again = rank in self._takers
        self._takers.add(rank)
        return (*self._given, is_again)

    async def note(self, note: dict[str, Any]) -> None:
        """A worker tells the driver something."""
        self._notes.append(note)

    async def beat(self, rank: int, beat: Beat) -> None:
        """A worker tells how far it is; only the latest counts, whenever the driver asks."""
        self._beats[rank] = beat

    async def ask(self, question: dict[str, Any]) -> Any:
        """A worker tells the driver something and waits for the answer."""
        number = len(self._answers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._notes.append({**question, "number": number})
        return await self._answers[number]

    async def answer(self, number: int, answer: Any) -> None:
        """The driver answers."""
        self._answers[number].set_result(answer)

    async def notes(self) -> list[dict[str, Any]]:
        """What was told since the driver asked last."""
        notes, self._notes = self._notes, []
        beats, self._beats = self._beats, {}
        return [*notes, {"kind": "beats", "beats": beats}] if beats else notes

    async def tell_workers_to_leave(self) -> bool:
        """Let the workers end together after a checkpoint; whether there are any."""
        group = self._worker_group
        workers = group.get_workers() if group is not None and group.has_started() else []
        for worker in workers:
            worker.execute_async(leave)
        return bool(workers)

    async def node_ids(self) -> list[str]:
        """The nodes that workers run on."""
        group = self._worker_group
        if group is None or not group.has_started():
            return []
        return [worker.metadata.node_id for worker in group.get_workers()]


def leave() -> None:
    """Tell the run in this worker's process to leave."""
    from ..training.agreement import told_to_leave  # only workers need it, and Lightning with it

    told_to_leave.set()


class LeaveOnSigterm(WorkerCallback):
    """After SIGTERM a worker leaves in order. Only the main thread may ask for the signal."""

    def after_init_train_context(self) -> None:
        """In the main thread of each worker, before it trains in another."""
        signal.signal(signal.SIGTERM, lambda signum, frame: leave())


class QuietScaling(FixedScalingPolicy):
    """A fixed number of workers, which Ray's scheduler is asked for and no autoscaler beside it."""

    def _send_resource_request(self) -> None: ...

    def _maybe_send_resource_request(self) -> None: ...

    def _cancel_resource_request(self) -> None: ...

"""Metrics on their way from the training thread into the store.

Logging a step must not cost training anything. So `add` only puts what it was given on a queue,
with the time; a thread of its own makes it into batches of up to 1,000 points, MLflow's limit for
one call, and spools one a second, from where another thread sends them. A store that does not
answer costs neither time nor points.

    add (training thread) -> queue of rows -> spool on disk -> MLflow

The run's other writes (`post`) take the same way behind the queue, so that all arrive in order.

A checkpoint keeps points that had not arrived when it was written (`unwritten`), and a run that
goes on from it gives them back (`go_on`): what the queue still held is not lost with a process that
dies, and the steps that it had written behind its checkpoint are not written twice.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .client import MAX_METRICS, entity_name, now_ms
from .sender import Sender
from .spool import Spool

logger = logging.getLogger("paceline.tracking")

# The largest step a store's 64-bit column holds.
_MAX_STEP = 2**63 - 1


class MetricWriter:
    """Writes into one run from threads of its own.

    Nothing here raises into training: a value that is no number is left out and told once, and so
    is a store that fails.

    Args:
        uri: What `resolve_uri` returned.
        run_id: A run that exists.
        folder: The run's folder, where the spool lies; None: what has not arrived when the process
            ends is lost.
        interval_s: Seconds between two batches when fewer than 1,000 points wait.
    """

    def __init__(
        self, uri: str, run_id: str, folder: Path | None = None, *, interval_s: float = 1.0
    ):
        self.uri, self.run_id, self.interval_s = uri, run_id, interval_s
        self._folder = folder
        self.spool = Spool(folder, run_id)
        self._sender = Sender(uri, self.spool)
        self._rows: deque[tuple[int, int, dict[str, Any]]] = deque()
        self._num_gathered = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._told: set[str] = set()
        self._moving = threading.Lock()  # held while points go from the queue into the spool
        name = f"paceline-metrics-{run_id[:8]}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        # A daemon thread dies with the interpreter, so what still waits is sent before.
        atexit.register(self.close)

    @property
    def error(self) -> Exception | None:
        """Why the store did not take the last write; None when it did."""
        return self._sender.error

    @property
    def num_written(self) -> int:
        """How many points have arrived."""
        return self._sender.num_points

    @property
    def num_pending(self) -> int:
        """How many points and other writes wait, about: the threads go on while we count."""
        return sum(len(row) for _, _, row in list(self._rows)) + self.spool.num_waiting

    def add(self, metrics: Mapping[str, Any], step: int) -> None:
        """Take one step's metrics; they carry the time of this call. After `close`: nothing.

        Args:
            metrics: Name -> number. A tensor of one element is taken by value: a later change of it
                in place is not seen. One on a GPU is copied there and fetched by the writer's
                thread, so that training does not wait for the device.
            step: The step they belong to.
        """
        if self._closing.is_set():
            return
        row = {name: _hold(value) for name, value in metrics.items()}
        self._rows.append((now_ms(), step, row))
        self._num_gathered += len(row)
        if self._num_gathered >= MAX_METRICS:
            self._wake.set()

    def post(self, op: str, content: dict[str, Any]) -> None:
        """Take another write of the run, which is on disk when this returns.

        Args:
            op: One of `spool.OPS`.
            content: JSON values without secrets.
        """
        self._gather()
        self.spool.append(op, content)
        self._sender.notice()

    def unwritten(self) -> list[list[Any]]:
        """The points that have not arrived, as `[name, value, time in ms, step]`.

        After a long outage only the first 32,000: the others are in the spool, which lies beside
        the checkpoint that keeps these.
        """
        self._gather()
        return [p for write in self.spool.cached() for p in write.content.get("points", ())]

    def go_on(
        self, points: Sequence[Sequence[Any]], written_to: Mapping[str, int] | None = None
    ) -> None:
        """Take a run up again that another process has written into: no step is written twice.

        Args:
            points: What `unwritten` gave when the checkpoint was written.
            written_to: Metric -> its last step in the store, where that is known; by default the
                sender asks the store as soon as it answers, before it sends anything.
        """
        self._sender.skip_written(self._folder, written_to)
        for start in range(0, len(points), MAX_METRICS):
            chunk = [list(point) for point in points[start : start + MAX_METRICS]]
            self.spool.append("metrics", {"points": chunk})
        self._sender.notice()

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Send what was added so far and wait for it.

        Args:
            timeout_s: How long to wait at most.

        Returns:
            Whether everything has arrived. A store that does not answer is asked once.
        """
        self._gather()
        return self._sender.flush(timeout_s)

    def close(self, timeout_s: float = 30.0) -> bool:
        """Send the rest and end the threads; what cannot be sent stays in the spool.

        Args:
            timeout_s: How long to wait at most.

        Returns:
            Whether everything has arrived. If not, a warning says where it waits.
        """
        if not self._closing.is_set():
            atexit.unregister(self.close)
            self._closing.set()
            self._wake.set()
            self._thread.join(timeout_s)
            self._sender.close(timeout_s)
            self._tell_rest()
            self.spool.close()
        return self.num_pending == 0

    def _tell_rest(self) -> None:
        lost, waiting = self.spool.num_lost, self.num_pending
        if self.spool.path is None:
            lost, waiting = lost + waiting, 0
        if waiting:
            message = "%d writes of run %s wait in %s: `paceline sync` uploads them."
            logger.warning(message, waiting, self.run_id, self.spool.path)
        if lost:
            logger.warning("%d points of run %s were not written.", lost, self.run_id)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self.interval_s)
            self._wake.clear()
            self._gather()
        self._gather()

    def _gather(self) -> None:
        """Move rows into the spool."""
        try:
            with self._moving:
                self._num_gathered = 0
                points: list[list[Any]] = []
                while self._rows:
                    time_ms, step, row = self._rows.popleft()
                    for name, value in row.items():
                        points += self._point(name, value, time_ms, step)
                        if len(points) == MAX_METRICS:
                            self.spool.append("metrics", {"points": points})
                            points = []
                if points:
                    self.spool.append("metrics", {"points": points})
        except Exception as error:  # the thread must outlive whatever happens here
            self._tell("writer", f"Metrics could not be spooled: {error!r}")
        self._sender.notice()

    def _point(self, name: str, value: Any, time_ms: int, step: int) -> list[list[Any]]:
        # Whatever MLflow would refuse is mended or left out here: one refused point would keep the
        # whole batch from being written.
        try:
            step = max(-_MAX_STEP, min(_MAX_STEP, int(step)))
            return [[entity_name(name), float(value), time_ms, step]]
        except (TypeError, ValueError, RuntimeError, OverflowError):
            kind = type(value).__name__
            self._tell(name, f"Metric {name!r} must be a number, but is a {kind}; left out.")
            return []

    def _tell(self, key: str, message: str) -> None:
        if key not in self._told:
            self._told.add(key)
            logger.warning("%s", message)


def _hold(value: Any) -> Any:
    """A value that later changes in place cannot reach, without waiting for a device."""
    if type(value) is float or type(value) is int:
        return value
    if (detach := getattr(value, "detach", None)) is None:
        return value
    tensor = detach()
    # Reading a CPU tensor takes a microsecond; reading a GPU's would wait for all its queued work.
    # The copy is queued on the stream that made the value and is read, in order, from the default
    # stream, which is the one that Lightning trains on.
    return tensor.item() if tensor.device.type == "cpu" and tensor.numel() == 1 else tensor.clone()

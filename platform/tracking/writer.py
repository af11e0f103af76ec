"""Metrics on their way from the training thread into the store.

Logging a step must not cost training anything. So `add` only puts what it was given on a queue,
with the time; a thread of its own makes it into batches of up to 1,000 points, MLflow's limit for
one call, and sends one a second. A store that does not answer costs neither time nor points: what
could not be sent waits in the backlog until it can. Sending a point twice writes it once, because
MLflow knows it by name, step, time and value.

    add (training thread) -> queue of rows -> backlog of batches -> MLflow

A checkpoint keeps the points that had not arrived when it was written (`unwritten`), and a run that
goes on from it gives them back (`go_on`): none is lost with a process that dies, and the steps that
it had written behind its checkpoint are not written twice.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from .client import (
    MAX_METRICS,
    Metric,
    MlflowException,
    connect,
    entity_name,
    now_ms,
    reason,
)

logger = logging.getLogger("paceline.tracking")

# The largest step a store's 64-bit column holds.
_MAX_STEP = 2**63 - 1


class MetricWriter:
    """Writes the metrics of one run from a thread of its own.

    Nothing here raises into training: a value that is no number is left out and told once, and so
    is a store that fails.

    Args:
        uri: What `resolve_uri` returned.
        run_id: A run that exists and is RUNNING.
        interval_s: Seconds between two batches when fewer than 1,000 points wait.

    Attributes:
        error: Why the store did not take the last batch; `None` when it did.
        num_written: How many points have arrived.
    """

    def __init__(self, uri: str, run_id: str, *, interval_s: float = 1.0):
        self.uri, self.run_id, self.interval_s = uri, run_id, interval_s
        self.error: MlflowException | None = None
        self.num_written = 0
        self._rows: deque[tuple[int, int, dict[str, Any]]] = deque()
        self._backlog: deque[list[Metric]] = deque()
        self._sending: list[Metric] = []  # the batch that is on its way
        self._num_gathered = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._flushes: deque[threading.Event] = deque()
        self._told: set[str] = set()
        self._written_to: dict[str, int] = {}  # the last step that an earlier attempt has written
        self._moving = threading.Lock()  # held while points go from the queue into the backlog
        name = f"paceline-metrics-{run_id[:8]}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        # A daemon thread dies with the interpreter, so what still waits is sent before.
        atexit.register(self.close)

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

    def unwritten(self) -> list[list[Any]]:
        """The points that have not arrived, as `[name, value, time in ms, step]`."""
        with self._moving:
            self._gather()
            batches = [self._sending, *self._backlog]
            return [[m.key, m.value, m.timestamp, m.step] for b in batches for m in b]

    def go_on(self, points: Sequence[Sequence[Any]], written_to: Mapping[str, int]) -> None:
        """Take a run up again that another process has written into.

        Args:
            points: What `unwritten` gave when the checkpoint was written.
            written_to: Metric -> its last step in the store; points up to it are left out.
        """
        with self._moving:
            self._written_to = dict(written_to)
            for name, value, time_ms, step in points:
                if step > self._written_to.get(name, -_MAX_STEP):
                    self._queue(Metric(name, value, time_ms, step))

    @property
    def num_pending(self) -> int:
        """How many points still wait, about: the threads go on while we count."""
        waiting = sum(len(row) for _, _, row in list(self._rows))
        return waiting + sum(len(batch) for batch in [self._sending, *self._backlog])

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Send what was added so far and wait for it.

        Args:
            timeout_s: How long to wait at most.

        Returns:
            Whether everything has arrived.
        """
        if not self._thread.is_alive():
            return self.num_pending == 0
        done = threading.Event()
        self._flushes.append(done)
        self._wake.set()
        done.wait(timeout_s)
        return done.is_set() and self.error is None

    def close(self, timeout_s: float = 30.0) -> bool:
        """Send the rest and end the thread.

        Args:
            timeout_s: How long to wait at most.

        Returns:
            Whether every point has arrived. If not, a warning says how many have not.
        """
        if not self._closing.is_set():
            atexit.unregister(self.close)
            self._closing.set()
            self._wake.set()
            self._thread.join(timeout_s)
            if lost := self.num_pending:
                logger.warning("%d points of run %s were not written.", lost, self.run_id)
        return self.num_pending == 0

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self.interval_s)
            self._wake.clear()
            self._cycle()
        self._cycle()

    def _cycle(self) -> None:
        """Send all that waits; who asked to be told is told, also when the store failed."""
        asked = [self._flushes.popleft() for _ in range(len(self._flushes))]
        try:
            with self._moving:
                self._gather()
            while self._take() and self._send(self._sending):
                with self._moving:
                    self._sending = []
        except Exception as error:  # the thread must outlive whatever happens here
            self._tell("writer", f"Metrics could not be written: {error!r}")
        for done in asked:
            done.set()

    def _gather(self) -> None:
        """Move rows into batches; the last batch that still waits is filled up first."""
        self._num_gathered = 0
        while self._rows:
            time_ms, step, row = self._rows.popleft()
            for name, value in row.items():
                metric = self._metric(name, value, time_ms, step)
                if metric and metric.step > self._written_to.get(metric.key, -_MAX_STEP - 1):
                    self._queue(metric)

    def _queue(self, metric: Metric) -> None:
        if not self._backlog or len(self._backlog[-1]) == MAX_METRICS:
            self._backlog.append([])
        self._backlog[-1].append(metric)

    def _metric(self, name: str, value: Any, time_ms: int, step: int) -> Metric | None:
        # Whatever MLflow would refuse is mended or left out here: one refused point would keep the
        # whole batch from being written.
        try:
            step = max(-_MAX_STEP, min(_MAX_STEP, int(step)))
            return Metric(entity_name(name), float(value), time_ms, step)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            kind = type(value).__name__
            self._tell(name, f"Metric {name!r} must be a number, but is a {kind}; left out.")
            return None

    def _take(self) -> bool:
        """Put the oldest batch on its way, unless one is; whether there is one."""
        with self._moving:
            if not self._sending and self._backlog:
                self._sending = self._backlog.popleft()
            return bool(self._sending)

    def _send(self, batch: list[Metric]) -> bool:
        """One call; `False` keeps the batch on its way for the next cycle."""
        try:
            connect(self.uri).log_batch(self.run_id, metrics=batch)
        except MlflowException as error:
            if self.error is None:
                logger.warning("Metrics wait, because the store says: %s", reason(error))
            self.error = error
            return False
        self.error = None
        self.num_written += len(batch)
        return True

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

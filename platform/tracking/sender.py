"""Sends what waits in a spool, from a thread of its own, for as long as it takes.

A store that does not answer is asked again after 1, 2, 4, ... 15 seconds. What it will never take
is told and left out, so that it keeps nothing else from arriving.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from .client import MAX_METRICS, connect, reason
from .delivery import Refused, Target, deliver, merge
from .drain import drain
from .spool import Spool, Write
from .spool_folder import spools

logger = logging.getLogger("paceline.tracking")

_LONGEST_PAUSE_S = 15.0
_MOVE_S = 3.0


class Sender:
    """Empties a spool into its store.

    Args:
        uri: What `resolve_uri` returned.
        spool: The spool.

    Attributes:
        error: Why the store did not take the last write; None when it did.
        num_points: How many points have arrived.
        written_to: Metric -> the last step that earlier attempts wrote; points up to it are left
            out. None while nobody asked the store; see `skip_written`.
    """

    def __init__(self, uri: str, spool: Spool):
        self.uri, self.spool = uri, spool
        self.error: Exception | None = None
        self.num_points = 0
        self.written_to: Mapping[str, int] | None = {}
        self._folder: Path | None = None
        self._pause_s = 0.0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._given_up = False
        self._is_hopeless = False  # the last flush left something behind
        self._asked: deque[threading.Event] = deque()
        self._thread = threading.Thread(
            target=self._run, name=f"paceline-sender-{spool.run_id[:8]}", daemon=True
        )
        self._thread.start()

    def skip_written(
        self, folder: Path | None, written_to: Mapping[str, int] | None = None
    ) -> None:
        """Leave out steps that the store has, because an earlier attempt wrote into this run.

        Args:
            folder: The run's folder; what the earlier attempt left there is uploaded first.
            written_to: Metric -> its last step in the store; None: the store is asked.
        """
        self._folder, self.written_to = folder, written_to

    def notice(self) -> None:
        """Something was appended to the spool."""
        if self.error is None:
            self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Send all that waits, or try it once when the store does not answer.

        Args:
            timeout_s: How long to wait at most.

        Returns:
            Whether everything has arrived.
        """
        if self._thread.is_alive():
            done = threading.Event()
            self._asked.append(done)
            self._wake.set()
            self._outwait(done.wait, timeout_s)
        self._is_hopeless = self.spool.num_waiting > 0
        return not self._is_hopeless

    def _outwait(self, is_over: Callable[[float], bool], timeout_s: float) -> None:
        """Wait; a store that was waited for in vain is waited for again only while it moves."""
        deadline, before = time.monotonic() + timeout_s, self.spool.num_waiting
        while not is_over(max(0.0, min(_MOVE_S, deadline - time.monotonic()))):
            waiting = self.spool.num_waiting
            if time.monotonic() >= deadline or (self._is_hopeless and waiting >= before):
                return
            before = waiting

    def close(self, timeout_s: float) -> bool:
        """Send the rest, as `flush` does, and end the thread."""
        self._closing.set()
        self._wake.set()
        self._outwait(self._is_joined, timeout_s)
        self._given_up = True  # a call that still hangs must not be followed by others
        return self.spool.num_waiting == 0

    def _is_joined(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._pause_s or None)
            self._wake.clear()
            self._round()
        self._round()

    def _round(self) -> None:
        """Send what waits; who asked to be told is told, also when the store failed."""
        asked = [self._asked.popleft() for _ in range(len(self._asked))]
        try:
            while not self._given_up and (writes := self._next()):
                self._send(*writes)
            self._pause_s = 0.0
            self.error = None
        except Exception as error:  # whatever a store of metrics or of files raises
            if self.error is None:
                logger.warning("The record waits, because the store says: %s", reason(error))
            self.error = error
            self._pause_s = min(_LONGEST_PAUSE_S, max(1.0, 2 * self._pause_s))
        for done in asked:
            done.set()

    def _next(self) -> tuple[list[Write], Write] | None:
        """What is sent next: the writes, and the one that stands for them."""
        if waiting := self.spool.first(late=False):
            return merge(waiting, MAX_METRICS)
        if waiting := self.spool.first(late=True):
            return waiting[:1], waiting[0]
        return None

    def _send(self, writes: list[Write], write: Write) -> None:
        if write.op == "metrics":
            write = self._without_written(write)
        try:
            if write.op != "metrics" or write.content["points"]:
                deliver(Target(self.uri, self.spool.run_id, self.spool.files), write)
        except Refused as error:
            logger.warning("The store refused %s: %s", _told(write), reason(error))
        else:
            self.num_points += len(write.content.get("points", ()))
        if not self._given_up:
            self.spool.done(writes)

    def _without_written(self, write: Write) -> Write:
        if self.written_to is None:
            left = spools(self._folder, self.spool.run_id) if self._folder else []
            if error := drain(self.uri, left).error:
                raise ConnectionError(error)
            run = connect(self.uri).get_run(self.spool.run_id)
            self.written_to = {m.key: m.step for m in run.data.to_proto().metrics}
        if not self.written_to:
            return write
        last = self.written_to
        points = [p for p in write.content["points"] if p[0] not in last or p[3] > last[p[0]]]
        return write._replace(content={"points": points})


def _told(write: Write) -> str:
    """What a write is, for a message: its kind and the names in it."""
    content = write.content
    names = sorted({point[0] for point in content.get("points", ())}) or [
        *content.get("params", ()),
        *content.get("tags", ()),
    ]
    names += [content[key] for key in ("file", "status") if key in content]
    return f"{write.op} ({', '.join(names[:5])})" if names else write.op

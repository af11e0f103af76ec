"""Uploads what processes that have ended left in their spools.

Whoever wrote a spool may have died between a write and the line that says so, and a later attempt
may have trained the same steps again and written them. So a point whose step the store has under
its name is left out, whatever its time: each step stands once in the record.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .client import MAX_METRICS, connect, reason
from .delivery import Refused, Target, deliver, merge
from .spool import Spool, Write

logger = logging.getLogger("paceline.tracking")


@dataclass
class Drained:
    """What became of some spools.

    Args:
        points: Points uploaded.
        writes: Params, tags, files, ends and other writes uploaded.
        there: Points that the store had already.
        refused: Writes that the store will never take; each was told.
        left: Points and other writes that still wait.
        held: Spools that a living process writes into, and which were left to it.
        error: Why something was left; empty when nothing was.
    """

    points: int = 0
    writes: int = 0
    there: int = 0
    refused: int = 0
    left: int = 0
    held: int = 0
    error: str = ""


def drain(uri: str, paths: Iterable[Path], limit_s: float = math.inf) -> Drained:
    """Upload what waits in spools, oldest first, until the store fails.

    Args:
        uri: What `resolve_uri` returned.
        paths: The spools.
        limit_s: Begin no further call after so many seconds.

    Raises:
        UserError: A line of one was changed; nothing of it was uploaded.
    """
    told, deadline = Drained(), time.monotonic() + limit_s
    for path in paths:
        spool = Spool.take_up(path)
        if spool is None:
            told.held += path.exists()
            continue
        try:
            if not told.error:
                _Drain(uri, spool, told, deadline).run()
        except Exception as error:  # whatever a store of metrics or of files raises
            told.error = reason(error)
        finally:
            told.left += spool.num_waiting
            spool.close()
    return told


class _Drain:
    """One spool on its way out."""

    def __init__(self, uri: str, spool: Spool, told: Drained, deadline: float):
        self.target = Target(uri, spool.run_id, spool.files)
        self.spool, self.told, self.deadline = spool, told, deadline
        self._steps: dict[str, set[int]] = {}  # metric -> steps that the store had

    def run(self) -> None:
        while waiting := self.spool.first(late=False):
            self._upload(*merge(waiting, MAX_METRICS))
        while waiting := self.spool.first(late=True):
            self._upload(waiting[:1], waiting[0])

    def _upload(self, writes: list[Write], write: Write) -> None:
        if time.monotonic() > self.deadline:
            raise TimeoutError("it answers too slowly to wait for")
        if write.op == "metrics":
            write = self._new(write)
        num_points = len(write.content.get("points", ()))
        try:
            if num_points or write.op != "metrics":
                deliver(self.target, write)
        except Refused as error:
            self.told.refused += 1
            logger.warning("The store refused %s: %s", write.op, reason(error))
        else:
            self.told.points += num_points
            self.told.writes += write.op != "metrics"
        self.spool.done(writes)

    def _new(self, write: Write) -> Write:
        given = write.content["points"]
        for name in {point[0] for point in given} - self._steps.keys():
            history = connect(self.target.uri).get_metric_history(self.target.run_id, name)
            self._steps[name] = {point.step for point in history}
        points = [point for point in given if point[3] not in self._steps[point[0]]]
        self.told.there += len(given) - len(points)
        return write._replace(content={"points": points})

"""Who works on what is kept in an object store: one process at a time, of whichever machine.

Its driver puts a small object with a token of its own, and again every few seconds. Clocks of
several machines are never compared: whoever finds another's object watches whether it changes. One
that stands still is of a driver that is gone, and is taken over.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import UserError, must
from .object_store import ObjectStore

logger = logging.getLogger("paceline.storage")

LEASE = "driver.json"
WATCH_S = 12.0  # its holder puts it again at least twice in this time
LOOK_S = 0.5


@dataclass(frozen=True)
class Holder:
    """Who works on a run, as the store has it.

    Args:
        token: Of this one working on it.
        renewals: How often it was put.
        process: Process ID.
        host: Name of its machine.
        folder: The run's folder there, and which one of that path it is.
    """

    token: str
    renewals: int
    process: int
    host: str
    folder: str


class Lease:
    """The right to work on a run in a store; methods raise OSError when the store does not answer.

    Args:
        store: The run's own place in the store.
        folder: Its folder on this disk, which this process alone works on.
    """

    def __init__(self, store: ObjectStore, folder: Path):
        self.store = store
        where = f"{folder}#{folder.stat().st_ino}"
        self._mine = Holder(secrets.token_hex(8), 0, os.getpid(), socket.gethostname(), where)

    def take(self) -> None:
        """Take it, from one who is gone too.

        Raises:
            UserError: A living process holds it.
        """
        holder = self._holder()
        mine = (self._mine.host, self._mine.folder)
        if holder is not None and (holder.host, holder.folder) != mine:
            self._watch(holder)
        self._put()
        time.sleep(LOOK_S)  # of two that come at once the later has it
        now = self._holder()
        if now is not None and now.token != self._mine.token:
            raise self._refusal(now)

    def renew(self) -> bool:
        """Put it again.

        Returns:
            Whether it is still this process's; another has taken it over when the store did not
            hear of this one for long.
        """
        holder = self._holder()
        if holder is not None and holder.token != self._mine.token:
            return False
        self._put()
        return True

    def release(self) -> None:
        """Delete it, if it is still this process's."""
        holder = self._holder()
        if holder is not None and holder.token == self._mine.token:
            self.store.delete(LEASE)

    def _watch(self, holder: Holder) -> None:
        """Wait until it is clear that a holder is gone."""
        logger.warning("Looking whether process %d of %s lives.", holder.process, holder.host)
        end = time.monotonic() + WATCH_S
        while time.monotonic() < end:
            time.sleep(LOOK_S)
            now = self._holder()
            if now is None:
                return
            if now != holder:
                raise self._refusal(now)

    def _refusal(self, holder: Holder) -> UserError:
        name = self.store.location.under(LEASE).plain_uri
        return UserError(
            must("--name", "a name that no living process uses", Path(name).parent.name),
            f"process {holder.process} of {holder.host} works on it: {name}",
            "another --name, or wait for that process",
        )

    def _put(self) -> None:
        self._mine = replace(self._mine, renewals=self._mine.renewals + 1)
        self.store.put(LEASE, json.dumps(asdict(self._mine)).encode())

    def _holder(self) -> Holder | None:
        """Who holds it; None: nobody, or what is there is no such object."""
        text = self.store.get(LEASE, most=10_000)
        try:
            return Holder(**json.loads(text)) if text is not None else None
        except (ValueError, TypeError):
            return None

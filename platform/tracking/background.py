"""Writes to the store that nobody waits for: one thread, in order, each failure told once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

logger = logging.getLogger("paceline.tracking")


class Background:
    """Runs calls one after the other beside the caller.

    Args:
        what: What is written, for the message when it fails.
    """

    def __init__(self, what: str):
        self.what = what
        self._thread = ThreadPoolExecutor(1, "paceline-record")

    def post(self, write: Callable[[], object]) -> Future[None]:
        """Run a call soon; what it raises is told and ends nothing.

        Returns:
            What ends with the call, for whoever has to wait for it.
        """
        return self._thread.submit(self._tell, write)

    def _tell(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:  # a full disk, say: where in our code is of no use
            logger.warning("%s could not be written: %s", self.what, error)
        except Exception:  # whatever a store, a disk or a library raises
            logger.exception("%s could not be written.", self.what)

    def close(self) -> None:
        """Wait until all has been run."""
        self._thread.shutdown(wait=True)

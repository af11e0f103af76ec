"""Ctrl-C and SIGTERM while Ray runs: noted when they come, acted upon where it is safe.

An exception that a signal handler raises inside Ray's C code comes out as a SystemError, and Ray's
own handler of SIGTERM, which `ray.init` installs, aborts the process. So this is entered after Ray
has started, and the driver asks for the signal at each turn of its loop.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from .signals import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferredSignals:
    """Holds the first SIGINT or SIGTERM back until `check`; a second one is raised at once.

    Only the main thread may install handlers; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> DeferredSignals:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            raise Interrupted(number)
        self._received = number

    def check(self) -> None:
        """Raise what was received.

        Raises:
            Interrupted: A signal came.
        """
        if self._received is not None:
            raise Interrupted(self._received)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the handlers back."""
        for number, handler in self._old.items():
            signal.signal(number, handler)

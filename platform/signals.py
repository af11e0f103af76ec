"""Ctrl-C and SIGTERM as one exception, raised where the main thread stands.

Lightning answers a KeyboardInterrupt with `sys.exit(1)`; an exception of our own passes through its
clean-up untouched and keeps the exit code that the shell expects: 130 or 143.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(BaseException):
    """The user or the system asked the run to stop.

    Args:
        signum: Number of the signal; the exit code is 128 more.
    """

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `Interrupted`; a second one falls to the old handler.

    Only the main thread may install handlers; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in old.items():
            signal.signal(number, handler)

    def interrupt(signum: int, frame: FrameType | None) -> None:
        restore()
        raise Interrupted(signum)

    for number in old:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        restore()

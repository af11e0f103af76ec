"""The HTTP server around a door: it ends in order, and nobody who was let in goes without answer.

At SIGTERM the port is closed first, so that whoever comes now is told by the system that nobody
listens; who had come and waited to be taken in is taken in. Connections that stand are read on for
a moment, and each answer says that it is the last of its connection: a client that keeps one open
never sends into a closed one unknowingly.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from ...platform.errors import UserError, must
from ...platform.ports import HOST
from .door import Door

LINGER_S = 1.0  # that connections without a request under way are kept open for one
TAKE_IN_S = 0.05
GRACE_S = 60  # that requests under way get to end
BACKLOG = 2048
SO_ATTACH_FILTER = 26  # Linux; Python has no name for it


def bind(port: int) -> socket.socket:
    """A socket on loopback, not listening yet.

    Raises:
        UserError: The port is taken or none.
    """
    if port > 65535:
        raise UserError(must("--port", "an integer from 1 to 65535", port), "--port")
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
    except OSError as error:
        found.close()
        remedy = f"another one: paceline serve MODEL --port {min(port + 1, 65535)}"
        reason = "it is in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
        raise UserError(must("--port", "a free port", port), reason, remedy) from None
    return found


class Server(uvicorn.Server):
    """Uvicorn, which ends in order.

    Args:
        door: The application.
        ready: Called once when a client can connect.
    """

    def __init__(self, door: Door, ready: Callable[[], None]):
        config = uvicorn.Config(
            door,
            log_level="error",
            access_log=False,
            lifespan="off",
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=GRACE_S,
        )
        super().__init__(config)
        self.door, self.ready, self.signum = door, ready, 0

    def serve_until_told(self, listener: socket.socket) -> int:
        """Answer until SIGINT or SIGTERM.

        Returns:
            The signal's number; 0 when something else ended it.
        """
        self.run(sockets=[listener])
        return self.signum

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so only then."""
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in, answer who is in, and end."""
        self.door.is_closing = True
        for listener in sockets or ():
            _turn_away(listener)
        await asyncio.sleep(TAKE_IN_S)  # the loop takes in who waited at the door
        for server in self.servers:
            server.close()
        deadline = time.monotonic() + LINGER_S
        while self.server_state.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals without raising them again at the end, which would lose the answer."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; at a second Ctrl-C do so at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit, self.signum = True, self.signum or sig


def _turn_away(listener: socket.socket) -> None:
    """Drop what comes to a listening socket from now on, on Linux.

    Closing it resets the connections that the kernel has made and nobody has taken in yet, requests
    and all. Behind a filter that drops everything no new ones are made; clients try again within a
    second, and find the port closed.
    """
    drop_all = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF: return 0
    buffer = ctypes.create_string_buffer(drop_all)
    program = struct.pack("HL", 1, ctypes.addressof(buffer))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

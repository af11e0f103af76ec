"""The ports of the cluster's services: those asked for, the usual ones, or any that is free."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator

from ...platform.errors import UserError, must
from ...platform.ports import free_port, is_free

USUAL = {"gcs": 6379, "dashboard": 8265, "mlflow": 5000, "s3": 7070}


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until nobody else of this machine is between choosing ports and listening there.

    The lock is on the folder of temporary files itself, so that no file of it stays behind.
    """
    handle = os.open(tempfile.gettempdir(), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def choose(asked: dict[str, int]) -> dict[str, int]:
    """A port for each service.

    Args:
        asked: Service -> port that it must have.

    Raises:
        UserError: One that was asked for is taken, asked for twice, or no port.
    """
    for name, port in asked.items():
        flag = f"--{name}-port"
        if not 1024 <= port <= 65535:
            raise UserError(must(flag, "an integer from 1024 to 65535", port), flag)
        if list(asked.values()).count(port) > 1:
            raise UserError(must(flag, "a port of its own", port), flag)
        if not is_free(port):
            remedy = f"another one, or none: {flag} is any free port then"
            raise UserError(must(flag, "a free port", port), flag, remedy)
    ports = dict(asked)
    for name, port in USUAL.items():
        if name not in ports:
            usual = port not in ports.values() and is_free(port)
            ports[name] = port if usual else _any(set(ports.values()))
    return ports


def _any(taken: set[int]) -> int:
    while (port := free_port()) in taken:
        pass
    return port

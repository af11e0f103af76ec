"""Ray for the length of a run or a sweep: started in this process, or joined at an address.

Starting it takes four seconds, most of them spent waiting for its processes, so it starts in a
thread while the driver checks the config and prepares the record. That thread lives as long as the
session: Linux ends Ray's processes with the very thread that started them, not with the process.

Whether the cluster wants a token is left to Ray (`RAY_AUTH_MODE`): one that it starts here has its
own, kept in `~/.ray`, so that no other user of the machine can run code in it; one that is joined
may have none.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol

from ..errors import RunError, UserError, must
from ..ports import HOST, answers
from . import ray_settings as ray_settings

import ray  # isort: skip - it reads the settings above when it is imported
from ray._private import services, worker as ray_worker  # isort: skip

KNOCK_S = 5.0
LEAVE_S = 2.0  # that one who leaves waits for a Ray that is still being joined
IF_NOT_HEARD = "ray start --head"
IF_ON_LOOPBACK = (
    'on the loopback somebody does: set -a; . "$(paceline cluster env)"; set +a; without it Ray '
    "takes 127.0.0.1 for this machine's other address"
)
IF_HEARD = (
    "somebody listens there: a cluster's token goes into RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token; "
    "and its Ray must be of the version here"
)
OBJECT_STORE_BYTES = 200_000_000  # metrics and configs are small; Ray's default is 30 % of memory


class Preloading(Protocol):
    """What makes the worker processes of a Ray that starts inside it warm."""

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def wait(self, count: int) -> None:
        """Wait until so many processes are warm."""

    def close(self) -> None:
        """Remove what was left on disk."""


class RaySession:
    """Ray, from `__enter__` to `__exit__`; one that ran before is used and left running.

    Args:
        address: A cluster's address; None starts Ray here.
        after: A session to stop first: a process has one Ray at a time.
        preloading: What the processes of a Ray that starts here make ready.
    """

    def __init__(
        self,
        address: str | None = None,
        after: RaySession | None = None,
        preloading: Preloading | None = None,
    ):
        if after is not None:
            after.stop()
        self.address, self._preloading = address, preloading
        self._error: Exception | None = None
        self._remedy = IF_NOT_HEARD
        self.is_ours = not ray.is_initialized()
        self._is_ready, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="paceline-ray", daemon=True)

    def __enter__(self) -> RaySession:
        """Begin to start, unless it has; `nodes` waits for it."""
        if self.is_ours and self._thread.ident is None:
            self._thread.start()
        return self

    def _run(self) -> None:
        options: dict[str, Any] = {"address": self.address or "local"}
        if self.address is None:
            options |= {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
        with hushed():
            try:
                if _knock(self.address):
                    self._remedy = IF_HEARD
                with quiet_ray(), self._preloading or contextlib.nullcontext():
                    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
            except Exception as error:
                self._error, self._remedy = error, getattr(error, "remedy", self._remedy)
            self._is_ready.set()
            self._is_over.wait()
            ray.shutdown()

    def nodes(self) -> list[dict[str, float]]:
        """What each living node has, by Ray's names.

        Raises:
            UserError: There is no cluster at the address.
            RunError: Ray does not start here.
        """
        if self.is_ours:
            self._is_ready.wait()
        if self._error is not None:
            reason = str(self._error).strip().partition("\n")[0]
            if self.address:
                rule = "the address of a running Ray cluster"
                raise UserError(must("--address", rule, self.address), reason, self._remedy)
            raise RunError(f"Ray does not start: {reason}", "", "ray stop; df -h /tmp /dev/shm")
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    @property
    def is_preloaded(self) -> bool:
        """Whether Ray was started here, with processes that become warm."""
        return self.is_ours and self._preloading is not None and self.address is None

    def wait_until_warm(self) -> None:
        """Wait until the processes that Ray started with itself are ready for trials."""
        if self._preloading is not None and self.is_preloaded:
            self._preloading.wait(int(ray.cluster_resources().get("CPU", 0)))

    def stop_soon(self) -> None:
        """Begin to stop what was started here; `__exit__` waits for it."""
        self._is_over.set()

    def stop(self) -> None:
        """Stop what was started here, and wait for it."""
        self._is_over.set()
        if self._thread.ident is not None:
            is_joining = self.address is not None and not self._is_ready.is_set()
            self._thread.join(LEAVE_S if is_joining else None)
        if self._preloading is not None:
            self._preloading.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop what was started here."""
        self.stop()


class _NotThere(Exception):
    """Nobody listens where Ray would look for a cluster on the loopback; somebody does on that."""

    remedy = IF_ON_LOOPBACK


def _knock(address: str | None) -> bool:
    """Find out within seconds whether anybody listens where Ray will look; it tries for minutes.

    Returns:
        Whether it is an address at which that can be found out.

    Raises:
        Exception: Nobody does, or Ray finds no cluster.
    """
    if address is None or "//" in address:
        return False
    target = services.canonicalize_bootstrap_address(address)
    host, _, port = (target or "").rpartition(":")
    if not host or not port.isdecimal():
        return False
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    except OSError as error:
        if target == address or host == HOST or not answers(int(port)):
            raise
        raise _NotThere(f"nobody listens at {target}, where Ray looks for it ({error})") from None
    return True


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep off standard output what Ray's daemons tell, for one that a worker has died.

    It comes when it comes, up to seconds later and between any two lines of ours; we tell it too.
    """
    module: Any = ray_worker
    before, module._worker_logs_enabled = module._worker_logs_enabled, False
    try:
        yield
    finally:
        module._worker_logs_enabled = before


@contextlib.contextmanager
def quiet_ray() -> Iterator[None]:
    """Keep Ray's own news and advice off standard error, where our progress stands."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.tune.tune")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

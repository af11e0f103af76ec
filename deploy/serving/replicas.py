"""A model answered by several processes that Ray Serve places, watches and starts again.

Ray Serve's own HTTP proxy stays closed: requests come through the same door as without replicas,
and go to whichever replica is free. A prediction changes nothing, so one whose replica died is
asked again of another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...platform.errors import RunError, UserError, must
from ...tuning.ray_session import RaySession, hushed, quiet_ray
from .scorer import read_metadata

# The session above sets what Ray reads when it is imported.
from ray.exceptions import ActorUnavailableError, RayActorError  # isort: skip

logger = logging.getLogger("paceline.serving")

APP = "paceline-serve"  # with a mark behind it: a cluster may have several
START_S = 180.0  # that the replicas get to load the model
TRIES = 20  # of one request, while replicas die
PAUSE_S = 0.25  # before it is tried again
ONGOING = 8  # requests that a replica takes at a time; torch computes them on its own threads
LOST = (RayActorError, ActorUnavailableError)


class Replica:
    """One process with the model.

    Args:
        files: The saved model, path -> content: a node need not see this disk.
    """

    def __init__(self, files: dict[str, bytes]):
        from .scorer import Scorer

        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self.model = Scorer(Path(folder))

    def answer(self, body: bytes, content_type: str) -> tuple[int, bytes, str]:
        """What MLflow's scoring server answers to one request."""
        from .local import answer

        return answer(self.model, body, content_type)


class Replicated:
    """The ASGI application in front of the replicas.

    Args:
        handle: Ray Serve's handle of them.
    """

    def __init__(self, handle: Any):
        self.handle, self.retried = handle, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, with the paths of MLflow's scoring server."""
        from mlflow.version import VERSION

        status, content, kind = 200, b"\n", "application/json"
        if scope["path"] == "/version":
            content = VERSION.encode()
        elif scope["path"] == "/invocations":
            body = (await receive())["body"]
            headers = {name.lower(): value for name, value in scope["headers"]}
            given = headers[b"content-type"].decode("latin-1")
            status, content, kind = await self._ask(body, given)
        start = {"type": "http.response.start", "status": status}
        await send(start | {"headers": [(b"content-type", kind.encode())]})
        await send({"type": "http.response.body", "body": content})

    async def _ask(self, body: bytes, content_type: str) -> tuple[int, bytes, str]:
        """One replica's answer; of another one where it died meanwhile."""
        for left in reversed(range(TRIES)):
            try:
                return await self.handle.answer.remote(body, content_type)
            except LOST as error:
                if not left:
                    raise
                self.retried += 1
                logger.warning("A replica was lost; the request goes to another: %s", error)
                await asyncio.sleep(PAUSE_S)
        raise AssertionError("the last try returns or raises")


@contextlib.contextmanager
def replicated_app(folder: Path, replicas: int, address: str | None) -> Iterator[Replicated]:
    """Replicas of a saved model on Ray, and the application that hands requests to them.

    Args:
        folder: A saved MLflow model.
        replicas: How many.
        address: A cluster; None starts Ray on this machine.

    Raises:
        UserError: There is no cluster at the address, or too many replicas for it.
        RunError: They did not come up.
    """
    from ray import serve

    read_metadata(folder)  # a model that no replica would take is told before Ray starts
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    with hushed(), quiet_ray(), RaySession(address) as session:
        cores = sum(node.get("CPU", 0.0) for node in session.nodes())
        share = _share(replicas, cores, address)
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        name = f"{APP}-{secrets.token_hex(4)}"
        try:
            yield Replicated(_start(serve, name, files, replicas, share))
        finally:
            serve.delete(name)
            if not serve.status().applications:  # somebody else may serve on this cluster
                serve.shutdown()


def _share(replicas: int, cores: float, address: str | None) -> float:
    """CPU cores that a replica reserves: one on a cluster, what there is on this machine."""
    if address and replicas > cores:
        rule = f"at most the {cores:.0f} CPU cores of the cluster"
        raise UserError(must("--replicas", rule, replicas), address, f"--replicas {cores:.0f}")
    return 1.0 if replicas <= cores else cores / replicas / 2


def _start(serve: Any, name: str, files: dict[str, bytes], replicas: int, share: float) -> Any:
    """Ray Serve's handle of replicas that all run."""
    serve.start(proxy_location="Disabled")
    deployment = serve.deployment(
        Replica,
        num_replicas=replicas,
        max_ongoing_requests=ONGOING,
        ray_actor_options={"num_cpus": share},
        health_check_period_s=1.0,
        graceful_shutdown_timeout_s=30.0,
    )
    target = serve.RunTarget(deployment.bind(files), name=name, route_prefix=None)
    [handle] = serve.run_many([target], wait_for_applications_running=False)
    deadline = time.monotonic() + START_S
    while (state := serve.status().applications[name]).status != "RUNNING":
        if state.status in ("DEPLOY_FAILED", "UNHEALTHY") or time.monotonic() > deadline:
            told = (state.message.strip().splitlines() or [f"they are {state.status}"])[-1]
            what = f"{replicas} replicas must start within {START_S:.0f} s, but do not: {told}"
            raise RunError(what, "--replicas", "fewer of them, or see that the cluster has room")
        time.sleep(0.2)
    return handle

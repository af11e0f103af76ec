"""`paceline serve MODEL`: answers on 127.0.0.1 until Ctrl-C or SIGTERM."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...platform.arguments import Arguments
from ...platform.errors import UserError

if TYPE_CHECKING:
    from .source import Source

DEFAULT_PORT = 5001
MAX_BODY_MIB = 64
MAX_EXAMPLE_CHARS = 300  # that the first lines show


def serve_command(arguments: Arguments) -> tuple[Any, str, int]:
    """Serve a model; what it answered is told at the end.

    Raises:
        UserError: No such model, one that is no exported graph, or a port that is taken.
        RunError: The store, Ray or the server failed.
    """
    from ...platform.signals import interruptible
    from .door import Door
    from .server import Server, bind

    options = arguments.options
    port = options.get("port") or DEFAULT_PORT
    replicas, address = options.get("replicas") or 0, options.get("address")
    if address and not replicas:
        what = "`--address` must stand beside `--replicas`, but stands alone."
        raise UserError(what, "--address", f"--replicas 2 --address {address}")
    with interruptible(), contextlib.ExitStack() as stack:
        listener = stack.enter_context(bind(port))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="paceline-serve-")))
        source = _source(arguments, folder)
        app = stack.enter_context(_app(source.folder, replicas, address))
        door = Door(app, port, (options.get("max_body") or MAX_BODY_MIB) * 2**20)
        greeting = _greeting(source, port, replicas)
        tell = partial(print, greeting, file=sys.stderr, flush=True)
        signum = Server(door, tell).serve_until_told(listener)
    counts = {**vars(door.counts), "retried": getattr(app, "retried", 0)}
    told = [f"{count} {name}" for name, count in counts.items() if count and name != "requests"]
    text = ", ".join([f"{source.name}: {door.counts.requests} requests answered", *told])
    word = str(arguments.positional["MODEL"])
    answer = {"name": word, "model": source.name, "port": port, "replicas": replicas, **counts}
    return answer, text, 128 + signum if signum else 1


def _source(arguments: Arguments, folder: Path) -> Source:
    """The model that the command line names, on this disk."""
    from ...platform.home import home
    from ...platform.tracking.store import Store
    from ...platform.tracking.uri import resolve_uri
    from .source import find_source

    store = Store(resolve_uri(arguments.changes.get("tracking.uri", (None, ""))[0], home()))
    storage = arguments.changes.get("launch.storage", (None, ""))[0]
    alias = arguments.options.get("alias") or "champion"
    return find_source(str(arguments.positional["MODEL"]), alias, store, storage, folder)


@contextlib.contextmanager
def _app(folder: Path, replicas: int, address: str | None) -> Iterator[Any]:
    """What answers behind the door: MLflow's server here, or replicas on Ray."""
    if not replicas:
        from .local import local_app

        yield local_app(folder)
        return
    from .replicas import replicated_app

    with replicated_app(folder, replicas, address) as app:
        yield app


def _greeting(source: Source, port: int, replicas: int) -> str:
    """Where it answers, and a request to try."""
    url = f"http://127.0.0.1:{port}"
    spread = f" by {replicas} replicas" if replicas else ""
    lines = [f"{source.name} is answered{spread} at {url}/invocations  (Ctrl-C ends it)"]
    with contextlib.suppress(OSError, ValueError):
        given = json.loads((source.folder / "serving_input_example.json").read_text())
        if len(text := json.dumps(given)) < MAX_EXAMPLE_CHARS:
            header = "-H 'Content-Type: application/json'"
            lines.append(f"  try  curl {header} -d '{text}' {url}/invocations")
    return "\n".join(lines)

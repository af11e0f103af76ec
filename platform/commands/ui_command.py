"""`paceline ui`: MLflow's own page on the store in use, on 127.0.0.1."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import Any

from ..arguments import Arguments
from ..errors import RunError, UserError, must
from ..home import home
from ..ports import HOST, answers
from ..signals import interruptible

DEFAULT_PORT = 5000


def ui_command(arguments: Arguments) -> tuple[Any, str, int]:
    """Serve the store until Ctrl-C; a tracking server that runs already is only named.

    Raises:
        UserError: The URI is wrong, or the port is taken.
        RunError: MLflow's server ended by itself with an error.
    """
    from ..tracking.uri import resolve_uri

    uri = resolve_uri(arguments.changes.get("tracking.uri", (None, ""))[0], home())
    if uri.startswith(("http://", "https://")):
        return {"url": uri, "tracking_uri": uri}, f"The tracking server has its own page: {uri}", 0
    port = arguments.options.get("port") or DEFAULT_PORT
    _check_port(port)
    url = f"http://{HOST}:{port}"
    with interruptible():  # SIGTERM must end the server too, not leave it behind
        code = _serve(uri, port, f"MLflow: {url}  (store {uri}; Ctrl-C ends it)")
    if code not in (0, 130, -2):
        raise RunError(f"The MLflow server must keep running, but ended with code {code}.", uri)
    return {"url": url, "tracking_uri": uri}, "", 0


def _check_port(port: int) -> None:
    if port > 65535:
        raise UserError(must("--port", "an integer from 1 to 65535", port))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            remedy = f"another one: paceline ui --port {port + 1}"
            raise UserError(
                must("--port", "a free port", port), str(error.strerror), remedy
            ) from None


def _serve(uri: str, port: int, told: str) -> int:
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--default-artifact-root", str(home() / "artifacts")]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(command, env=environment)
    try:
        while server.poll() is None and not answers(port):
            time.sleep(0.1)
        if server.poll() is None:
            print(told, file=sys.stderr)
        return server.wait()
    except BaseException:
        server.terminate()
        server.wait(timeout=20)
        raise

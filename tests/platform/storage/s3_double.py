"""moto's S3 as a real process, with a layer in front of it that fails when it is told to.

As a script it is that process: `python s3_double.py PORT`. What it is told goes to `/-/faults`:
every n-th PUT that is answered with a status, or all requests that are.
"""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import requests
from paceline.platform.ports import free_port

BUCKET = "runs-of-tests"
# moto looks whether a request is signed, not how.
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=of-tests/20260101/us-east-1/s3/aws4_request"
}


class S3Double:
    """An S3 of its own on 127.0.0.1.

    Args:
        log: A file for what it prints.
    """

    def __init__(self, log: Path):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(self.port)], stdout=file, stderr=file
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                requests.put(f"{self.endpoint}/{BUCKET}", timeout=5).raise_for_status()
                return
            except requests.RequestException:
                time.sleep(0.1)
        raise RuntimeError(log.read_text())

    def storage(self, prefix: str, port: int | None = None) -> str:
        """The address of a prefix, through another port if there is one in between."""
        return f"s3://{BUCKET}/{prefix}?endpoint_override=http://127.0.0.1:{port or self.port}"

    def fail(self, every: int = 0, status: int = 500) -> None:
        """Answer every so-many-th PUT with a status; 1: every request; 0: none."""
        self._tell({"every": every, "status": status})

    def asked(self) -> list[str]:
        """Method, path and status of each request since `fail` was last called."""
        return requests.get(f"{self.endpoint}/-/faults", timeout=5).json()

    def keys(self, prefix: str) -> list[str]:
        """The objects that have content below a prefix, without it."""
        question = {"list-type": "2", "prefix": f"{prefix}/"}
        listing = self._ask("GET", "", params=question).decode()
        names = [part.partition("</Key>")[0] for part in listing.split("<Key>")[1:]]
        return sorted(n.removeprefix(f"{prefix}/") for n in names if not n.endswith("/"))

    def read(self, name: str) -> bytes:
        """An object's content."""
        return self._ask("GET", name)

    def write(self, name: str, content: bytes) -> None:
        """Put an object past all faults."""
        self._ask("PUT", name, data=content)

    def delete(self, name: str) -> None:
        """Delete an object."""
        self._ask("DELETE", name)

    def _ask(self, method: str, name: str, **more: Any) -> bytes:
        url, headers = f"{self.endpoint}/{BUCKET}/{name}", SIGNED | {"x-past-faults": "1"}
        answer = requests.request(method, url, headers=headers, timeout=10, **more)
        answer.raise_for_status()
        return answer.content

    def _tell(self, faults: dict[str, int]) -> None:
        requests.put(f"{self.endpoint}/-/faults", json=faults, timeout=5).raise_for_status()

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


class Line:
    """A line to a port that can be cut, and put up again, and go silent.

    Args:
        to: The port.
    """

    def __init__(self, to: int):
        self.to, self.port = to, 0
        self.is_silent = False
        self._open: list[socket.socket] = []
        self.mend()

    def mend(self) -> None:
        """Listen, on the port of before."""
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server.bind(("127.0.0.1", self.port))
        self._server.listen(50)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, args=(self._server,), daemon=True).start()

    def cut(self) -> None:
        """Hang up on all, and refuse whoever comes."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for end in self._open:
            end.close()
        self._open.clear()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            self._open.append(near)
            if self.is_silent:
                continue
            far = socket.create_connection(("127.0.0.1", self.to))
            self._open.append(far)
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while data := near.recv(1 << 16):
                if not self.is_silent:
                    far.sendall(data)
            far.shutdown(socket.SHUT_WR)
        except OSError:
            return


class Faults:
    """A WSGI layer that answers some requests itself.

    Args:
        app: What answers the others.
    """

    def __init__(self, app: Any):
        self.app, self.every, self.status = app, 0, 500
        self._puts, self._asked = itertools.count(1), list[str]()

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == "/-/faults":
            return self._control(method, environ, start)
        if "HTTP_X_PAST_FAULTS" in environ:
            return self.app(environ, start)
        fails = self.every == 1
        if self.every > 1 and method == "PUT":
            fails = next(self._puts) % self.every == 0
        self._asked.append(f"{method} {path}{' failed' * fails}")
        if not fails:
            return self.app(environ, start)
        if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
            while environ["wsgi.input"].read(1 << 16):
                pass
        code = "AccessDenied" if self.status == 403 else "InternalError"
        start(f"{self.status} No", [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()]

    def _control(self, method: str, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if method == "PUT":
            told = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            self.every, self.status = told["every"], told["status"]
            self._puts, self._asked = itertools.count(1), []
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(self._asked).encode()]


def serve(port: int) -> None:
    """Serve until the process ends."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    app = Faults(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", port, app, threaded=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))

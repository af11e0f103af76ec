"""A proxy between MLflow's client and its server that does, on demand, what networks do.

It passes HTTP requests on one by one and can refuse connections, answer with an error of its own,
wait before it passes on, and drop the server's answer after the request was carried out.
"""

from __future__ import annotations

import socket
import threading
import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Proxy:
    """Stands before a server.

    Args:
        port: The server's port on 127.0.0.1.

    Attributes:
        uri: Where the proxy is reached.
        status: Answer with this HTTP status instead of asking the server.
        status_only: Only to requests whose path has this in it.
        delay_s: Wait so long before each request is passed on.
        drops: So many answers, to requests whose path has `drops_only` in it, are dropped after the
            server carried the request out.
        drops_only: See `drops`.
        requests: What was asked: method and path of each request, in order.
    """

    def __init__(self, port: int):
        self.server_port = port
        self.status: int | None = None
        self.status_only = ""
        self.delay_s = 0.0
        self.drops, self.drops_only = 0, ""
        self.requests: list[str] = []
        self._http: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port of before."""
        proxy = self

        class Handler(_Handler):
            owner = proxy

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hung up is no news."""

        self._http = Server(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def refuse(self) -> None:
        """Listen no more: connections are refused until `start`."""
        assert self._http is not None
        self._http.shutdown()
        self._http.server_close()

    def behave(self) -> None:
        """Pass everything on as it is."""
        self.status, self.delay_s, self.drops = None, 0.0, 0
        self.status_only = self.drops_only = ""


class _Handler(BaseHTTPRequestHandler):
    owner: Proxy

    def _pass_on(self) -> None:
        owner = self.owner
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        owner.requests.append(f"{self.command} {self.path}")
        if owner.delay_s:
            time.sleep(owner.delay_s)
        if owner.status is not None and owner.status_only in self.path:
            self._answer(owner.status, [("Retry-After", "3600")], b"no")
            return
        try:
            status, headers, content = self._ask(body)
        except (OSError, HTTPException):
            self._hang_up()
            return
        if owner.drops > 0 and owner.drops_only in self.path:
            owner.drops -= 1
            self._hang_up()
            return
        self._answer(status, headers, content)

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection("127.0.0.1", self.owner.server_port, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        headers["Host"] = f"127.0.0.1:{self.owner.server_port}"
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: pytest reads the error stream."""

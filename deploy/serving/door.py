"""What stands before the scoring server: who may ask, how much, and what a refusal says.

A page in a browser may send requests to 127.0.0.1; its Host or Origin header gives it away.
MLflow's server takes bodies of any size and answers a mistake with a traceback and the whole input;
here it is one message.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger("paceline.serving")

PATHS = {"/ping": "GET", "/health": "GET", "/version": "GET", "/invocations": "POST"}
MAX_MESSAGE_CHARS = 500
DISCARDED_BYTES = 256 * 2**20  # of a body that is too large, before the connection is closed
BODY_S = 30.0  # that a request's body may take to arrive

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]


class Refusal(Exception):
    """A request that is not handed on.

    Args:
        status: HTTP status.
        code: MLflow's name of it.
        message: One sentence.
    """

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Counts:
    """How many requests were answered.

    Args:
        requests: All of them.
        refused: Those with a status from 400 to 499.
        failed: Those with a status from 500.
    """

    requests: int = 0
    refused: int = 0
    failed: int = 0

    def add(self, status: int) -> None:
        """Count one answer."""
        self.requests += 1
        self.refused += 400 <= status < 500
        self.failed += status >= 500


class Door:
    """An ASGI application that lets requests through to another.

    Args:
        app: The application behind.
        port: Where it listens, which a Host header has to name.
        max_body: Bytes that a body may have.
    """

    def __init__(self, app: App, port: int, max_body: int):
        self.app, self.max_body = app, max_body
        self.counts = Counts()
        self.is_closing = False  # from then on each answer is the last of its connection
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        self._hosts |= {"127.0.0.1", "localhost"} if port == 80 else set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        answer = _Answer(self, send)
        try:
            self._check(scope)
            body = await self._body(receive)
            await self.app(scope, _once(body, receive), answer)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except Exception as error:  # the client gets one sentence, the log the rest
            logger.exception("A request could not be answered")
            told = f"The server could not answer: {type(error).__name__}."
            await answer.refuse(Refusal(500, "INTERNAL_ERROR", told))

    def _check(self, scope: Scope) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1").lower()
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if host not in self._hosts:
            told = f"`Host` must be one of {', '.join(sorted(self._hosts))}, but is {host!r}."
            raise Refusal(403, "PERMISSION_DENIED", told)
        if origin and origin.partition("://")[2] not in self._hosts:
            told = f"`Origin` must be left out or this server, but is {origin!r}."
            raise Refusal(403, "PERMISSION_DENIED", told)
        path, method = scope["path"], scope["method"]
        if path not in PATHS:
            told = f"The path must be one of {', '.join(PATHS)}, but is {path!r}."
            raise Refusal(404, "ENDPOINT_NOT_FOUND", told)
        if method != PATHS[path]:
            told = f"The method of {path} must be {PATHS[path]}, but is {method}."
            raise Refusal(405, "BAD_REQUEST", told)
        if method == "POST":
            self._check_kind(headers)
        length = headers.get(b"content-length", b"0")
        # Who asks first is told before anything is sent; another's body is read to its end, as a
        # connection that is closed before takes the answer with it.
        most = self.max_body + (0 if b"expect" in headers else DISCARDED_BYTES)
        if length.isdigit() and int(length) > most:
            raise self._too_large(int(length))

    @staticmethod
    def _check_kind(headers: Mapping[bytes, bytes]) -> None:
        """The models take tensors, which MLflow's server reads from JSON alone."""
        kind = headers.get(b"content-type", b"").decode("latin-1").strip()
        if kind.partition(";")[0].strip() != "application/json":
            given = repr(kind) if kind else "missing"
            told = f"`Content-Type` must be given, as application/json, but is {given}."
            raise Refusal(415, "BAD_REQUEST", told)
        coding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip()
        if coding.lower() != "identity":
            told = f"`Content-Encoding` must be left out, but is {coding!r}."
            raise Refusal(415, "BAD_REQUEST", told)

    async def _body(self, receive: Receive) -> bytes:
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400, "BAD_REQUEST", "The request broke off.")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self.max_body:
                        parts.clear()
                    is_over = not message.get("more_body")
                    if size > self.max_body + DISCARDED_BYTES * (not is_over):
                        raise self._too_large(size)
                    if is_over:
                        return b"".join(parts)
        except TimeoutError:
            told = f"The request's body must arrive within {BODY_S:.0f} s, but did not."
            raise Refusal(408, "BAD_REQUEST", told) from None

    def _too_large(self, size: int) -> Refusal:
        told = f"A request must have at most {self.max_body} bytes, but has {size} or more."
        return Refusal(413, "BAD_REQUEST", f"{told} Send fewer examples at a time.")


def _once(body: bytes, receive: Receive) -> Receive:
    """A body that has been read, for who asks for it; then the connection itself."""
    waiting = [body]

    async def again() -> dict[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


class _Answer:
    """Sends an application's answer on; of one that tells a mistake only a message."""

    def __init__(self, door: Door, send: Send):
        self.door, self._send = door, send
        self._start: dict[str, Any] | None = None
        self._parts: list[bytes] = []
        self._is_sent = False

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._parts.append(message.get("body", b""))
        if message.get("more_body") or self._start is None or self._is_sent:
            return
        status, body = self._start["status"], b"".join(self._parts)
        if status >= 400:
            code, told = _one_message(body)
            await self.refuse(Refusal(status, code, told))
            return
        headers = [(n, v) for n, v in self._start["headers"] if n.lower() != b"content-length"]
        await self._finish(status, headers, body)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with one message, unless the answer has begun."""
        if self._is_sent:
            return
        body = json.dumps({"error_code": refusal.code, "message": refusal.message}).encode()
        headers = [(b"content-type", b"application/json")]
        # What is left of a body that was not read must not be taken for the next request.
        is_last = refusal.status in (408, 413)
        await self._finish(refusal.status, headers, body, is_last=is_last)

    async def _finish(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        *,
        is_last: bool = False,
    ) -> None:
        self._is_sent = True
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        if is_last or self.door.is_closing:
            headers.append((b"connection", b"close"))
        self.door.counts.add(status)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _one_message(body: bytes) -> tuple[str, str]:
    """MLflow's name and first words of a mistake, without its traceback and the input."""
    try:
        answer = json.loads(body)
        code, told = str(answer.get("error_code", "BAD_REQUEST")), str(answer.get("message", ""))
    except (ValueError, AttributeError):
        code, told = "BAD_REQUEST", body.decode("utf-8", "replace")
    if told.startswith("Failed to predict data"):
        told = told.rpartition("\nError: ")[2]
    told = told.partition("\nInput:")[0].partition("IMPORTANT:")[0].strip()
    return code, " ".join(told.split())[:MAX_MESSAGE_CHARS] or "The request cannot be answered."

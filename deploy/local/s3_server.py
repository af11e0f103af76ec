"""The process of the object store's double: `python -m paceline.deploy.local.s3_server PORT`.

It is moto's S3, which keeps its objects in memory and answers everybody. A layer in front lets
through what is signed with the key of `$AWS_SECRET_ACCESS_KEY`, was sent to this host, and comes
from no page of another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from ...platform.ports import HOST
from .signature import is_signed

Start = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


class Guard:
    """A WSGI layer that refuses whoever has not the key.

    Args:
        application: What answers the others.
        account: The access key id.
        key: The secret access key.
        port: Where it listens.
    """

    def __init__(self, application: Application, account: str, key: str, port: int):
        self.application, self.account, self.key = application, account, key
        self.hosts = {f"{name}:{port}" for name in (HOST, "localhost")}

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """Answer one request."""
        reason = self._reason_against(environ)
        if not reason:
            return self.application(environ, start)
        start("403 Forbidden", [("Content-Type", "application/xml"), ("Connection", "close")])
        return [f"<Error><Code>{reason}</Code><Message>refused</Message></Error>".encode()]

    def _reason_against(self, environ: dict[str, Any]) -> str:
        headers = _headers(environ)
        if headers.get("host") not in self.hosts:
            return "InvalidHost"
        if "origin" in headers:  # a web page; none has business here
            return "AccessForbidden"
        target = environ.get("RAW_URI") or environ["REQUEST_URI"]
        method = environ["REQUEST_METHOD"]
        if not is_signed(method, target, headers, self.account, self.key):
            return "SignatureDoesNotMatch" if "authorization" in headers else "AccessDenied"
        return ""


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    """The request's headers, by their names in small letters."""
    named = {
        key.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            named[key.replace("_", "-").lower()] = str(environ[key])
    return named


def serve(port: int) -> None:
    """Serve until the process ends."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    account, key = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    store: Application = DomainDispatcherApplication(create_backend_app)
    run_simple(HOST, port, Guard(store, account, key, port), threaded=True)  # pyright: ignore


if __name__ == "__main__":
    serve(int(sys.argv[1]))

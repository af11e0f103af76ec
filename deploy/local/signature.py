"""Signatures of requests to an object store (AWS Signature Version 4): who signed with the key?

The store's double takes any signature, so this stands before it. What is checked is the account,
the key and the age of a request; that its body is what was signed is not, as nothing on the
loopback changes it in between. (AWS, "Authenticating Requests: Using the Authorization Header".)
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<account>[^/,]+)/(?P<day>\d{8})/(?P<region>[^/,]+)/"
    r"(?P<service>[^/,]+)/aws4_request,\s*SignedHeaders=(?P<names>[^,\s]+),\s*"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
MAX_AGE = datetime.timedelta(minutes=15)


def is_signed(
    method: str,
    target: str,
    headers: Mapping[str, str],
    account: str,
    key: str,
    now: datetime.datetime | None = None,
) -> bool:
    """Whether a request was signed by an account with its key.

    Args:
        method: As in the request line.
        target: Path and query as they were sent.
        headers: By their names in small letters.
        account: The access key id.
        key: The secret access key.
        now: Time of this check, with its zone; default: the clock's.
    """
    parts = _HEADER.fullmatch(headers.get("authorization", ""))
    if parts is None or not hmac.compare_digest(parts["account"].encode(), account.encode()):
        return False
    names = parts["names"].split(";")
    moment = headers.get("x-amz-date", "")
    if "host" not in names or "x-amz-date" not in names or not _is_recent(moment, now):
        return False
    path, _, query = target.partition("?")
    canonical = "\n".join(
        [
            method,
            quote(unquote(path), safe="/-_.~"),
            _canonical_query(query),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in names),
            "",
            parts["names"],
            headers.get("x-amz-content-sha256", ""),
        ]
    )
    scope = [parts["day"], parts["region"], parts["service"], "aws4_request"]
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", moment, "/".join(scope), hashed])
    secret = f"AWS4{key}".encode()
    for word in (*scope, text):
        secret = hmac.digest(secret, word.encode(), "sha256")
    return hmac.compare_digest(secret.hex(), parts["signature"])


def _canonical_query(query: str) -> str:
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    coded = [tuple(quote(unquote(part), safe="-_.~") for part in pair) for pair in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(coded))


def _is_recent(moment: str, now: datetime.datetime | None) -> bool:
    try:
        signed = datetime.datetime.strptime(f"{moment}+0000", "%Y%m%dT%H%M%SZ%z")
    except ValueError:
        return False
    return abs((now or datetime.datetime.now(datetime.UTC)) - signed) <= MAX_AGE

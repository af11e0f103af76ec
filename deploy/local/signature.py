"""Signatures of requests to an object store (AWS Signature Version 4): who signed with the key?

The store's double takes any signature, so this stands before it. What is checked is the account,
the key and the age of a request; that its body is what was signed is not, as nothing on the
loopback changes it in between. A signature stands in a header, or in an address that was given away
for a while, as MLflow's server does for downloads. (AWS, "Authenticating Requests: Using the
Authorization Header", "Using Query Parameters".)
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

_CREDENTIAL = (
    r"(?P<account>[^/,]+)/(?P<day>\d{8})/(?P<region>[^/,]+)/(?P<service>[^/,]+)/aws4_request"
)
_HEADER = re.compile(
    rf"AWS4-HMAC-SHA256 Credential={_CREDENTIAL},\s*SignedHeaders=(?P<names>[^,\s]+),\s*"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
MAX_AGE = datetime.timedelta(minutes=15)
MAX_PRESIGNED_S = 7 * 24 * 3600  # AWS's own limit
_SIGNATURE = "X-Amz-Signature"  # the one parameter of a presigned address that is not signed


@dataclass(frozen=True)
class _Claim:
    """What a request says of its signature.

    Args:
        account: The access key id.
        scope: Day, region and service that the key is derived for.
        names: The signed headers.
        signature: In hexadecimal digits.
        moment: When it was signed, as it was sent.
        content: Digest of the body, or a word that it is not signed.
        lifetime: For how long it holds.
    """

    account: str
    scope: tuple[str, str, str]
    names: list[str]
    signature: str
    moment: str
    content: str
    lifetime: datetime.timedelta = MAX_AGE


def is_signed(
    method: str,
    target: str,
    headers: Mapping[str, str],
    account: str,
    key: str,
    now: datetime.datetime | None = None,
) -> bool:
    """Whether a request was signed by an account with its key, in a header or in its address.

    Args:
        method: As in the request line.
        target: Path and query as they were sent.
        headers: By their names in small letters.
        account: The access key id.
        key: The secret access key.
        now: Time of this check, with its zone; default: the clock's.
    """
    path, _, query = target.partition("?")
    claim = _of_header(headers) if "authorization" in headers else _of_address(query)
    if claim is None or not hmac.compare_digest(claim.account.encode(), account.encode()):
        return False
    if "host" not in claim.names or not _holds(claim, now or datetime.datetime.now(datetime.UTC)):
        return False
    canonical = "\n".join(
        [
            method,
            quote(unquote(path), safe="/-_.~"),
            _canonical_query(query),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in claim.names),
            "",
            ";".join(claim.names),
            claim.content,
        ]
    )
    scope = (*claim.scope, "aws4_request")
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", claim.moment, "/".join(scope), hashed])
    secret = f"AWS4{key}".encode()
    for word in (*scope, text):
        secret = hmac.digest(secret, word.encode(), "sha256")
    return hmac.compare_digest(secret.hex(), claim.signature)


def _of_header(headers: Mapping[str, str]) -> _Claim | None:
    """What `Authorization` says; the time has to be signed with it."""
    parts = _HEADER.fullmatch(headers["authorization"])
    if parts is None or "x-amz-date" not in (names := parts["names"].split(";")):
        return None
    moment, content = headers.get("x-amz-date", ""), headers.get("x-amz-content-sha256", "")
    scope = parts["day"], parts["region"], parts["service"]
    return _Claim(parts["account"], scope, names, parts["signature"], moment, content)


def _of_address(query: str) -> _Claim | None:
    """What a presigned address says, which holds for as long as whoever signed it wanted."""
    given = dict(_pairs(query))
    parts = re.fullmatch(_CREDENTIAL, given.get("X-Amz-Credential", ""))
    seconds = given.get("X-Amz-Expires", "")
    if parts is None or given.get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256":
        return None
    if not re.fullmatch(r"\d{1,6}", seconds) or int(seconds) > MAX_PRESIGNED_S:
        return None
    return _Claim(
        account=parts["account"],
        scope=(parts["day"], parts["region"], parts["service"]),
        names=given.get("X-Amz-SignedHeaders", "").split(";"),
        signature=given.get(_SIGNATURE, ""),
        moment=given.get("X-Amz-Date", ""),
        content="UNSIGNED-PAYLOAD",
        lifetime=datetime.timedelta(seconds=int(seconds)),
    )


def _pairs(query: str) -> list[tuple[str, str]]:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _canonical_query(query: str) -> str:
    coded = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in _pairs(query)
        if name != _SIGNATURE
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(coded))


def _holds(claim: _Claim, now: datetime.datetime) -> bool:
    """Whether it was signed recently, by a clock that is not far from this one."""
    try:
        signed = datetime.datetime.strptime(f"{claim.moment}+0000", "%Y%m%dT%H%M%SZ%z")
    except ValueError:
        return False
    return -MAX_AGE <= now - signed <= claim.lifetime

"""Signatures of requests to the object store, against those that botocore makes."""

from __future__ import annotations

import datetime
from urllib.parse import urlsplit

import pytest
from paceline.deploy.local.signature import is_signed

boto = pytest.importorskip("botocore.auth", reason="needs boto3: pip install 'paceline[cluster]'")
ACCOUNT, KEY = "someone", "nobody/else+has=it"


def signed(method: str, url: str, key: str = KEY, account: str = ACCOUNT) -> dict[str, str]:
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method, url, headers={"x-amz-meta-of-ours": "  two   words "}, data=b"x")
    boto.S3SigV4Auth(Credentials(account, key), "s3", "us-east-1").add_auth(request)
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    return {**headers, "host": urlsplit(url).netloc}


def target(url: str) -> str:
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


URLS = [
    "http://127.0.0.1:7070/bucket/key",
    "http://127.0.0.1:7070/bucket/a%20b/c%3Dd%2Be~f?partNumber=2&uploadId=a%2Fb",
    "http://127.0.0.1:7070/bucket?uploads=",
    "http://127.0.0.1:7070/bucket?list-type=2&prefix=runs%2Fa%20b&delimiter=%2F",
    "http://127.0.0.1:7070/",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_botocore_signs_is_signed(method: str, url: str):
    assert is_signed(method, target(url), signed(method, url), ACCOUNT, KEY)


def test_nothing_else_is():
    url = URLS[1]
    headers = signed("PUT", url)
    assert is_signed("PUT", target(url), headers, ACCOUNT, KEY)
    assert not is_signed("DELETE", target(url), headers, ACCOUNT, KEY)
    assert not is_signed("PUT", target(URLS[0]), headers, ACCOUNT, KEY)
    assert not is_signed("PUT", target(url) + "&more=1", headers, ACCOUNT, KEY)
    assert not is_signed("PUT", target(url), {**headers, "host": "example.org"}, ACCOUNT, KEY)
    assert not is_signed("PUT", target(url), headers, ACCOUNT, KEY + "x")
    assert not is_signed("PUT", target(url), headers, ACCOUNT + "x", KEY)
    assert not is_signed("PUT", target(url), signed("PUT", url, key="guess"), ACCOUNT, KEY)
    assert not is_signed("PUT", target(url), signed("PUT", url, account="me"), ACCOUNT, KEY)
    assert not is_signed("PUT", target(url), {"host": "127.0.0.1"}, ACCOUNT, KEY)
    damaged = {**headers, "x-amz-date": "yesterday"}
    assert not is_signed("PUT", target(url), damaged, ACCOUNT, KEY)
    assert not is_signed("PUT", target(url), {**headers, "authorization": "Bearer x"}, ACCOUNT, KEY)


@pytest.mark.parametrize(("minutes", "holds"), [(14, True), (-14, True), (16, False), (-16, False)])
def test_a_signature_holds_for_a_quarter_of_an_hour(minutes: int, holds: bool):
    url = URLS[0]
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
    assert is_signed("GET", target(url), signed("GET", url), ACCOUNT, KEY, now) is holds


def presigned(url: str, seconds: int = 300, key: str = KEY, account: str = ACCOUNT) -> str:
    """An address that whoever has it may ask for, as botocore makes it."""
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("GET", url)
    signer = boto.S3SigV4QueryAuth(Credentials(account, key), "s3", "us-east-1", expires=seconds)
    signer.add_auth(request)
    return target(str(request.url))


DOWNLOAD = f"{URLS[1]}&response-content-disposition=attachment%3B%20filename%3D%22a%20b%22"
HOST = {"host": "127.0.0.1:7070"}


@pytest.mark.parametrize("url", [*URLS, DOWNLOAD])
def test_a_presigned_address_is_signed_for_its_method_and_host_alone(url: str):
    address = presigned(url)
    assert is_signed("GET", address, HOST, ACCOUNT, KEY)
    # Clients write what need not be coded as it is.
    assert is_signed("GET", address.replace("%2F", "/").replace("%3B", ";"), HOST, ACCOUNT, KEY)
    assert not is_signed("PUT", address, HOST, ACCOUNT, KEY)
    assert not is_signed("GET", address, {"host": "example.org"}, ACCOUNT, KEY)
    assert not is_signed("GET", f"/other{address}", HOST, ACCOUNT, KEY)
    assert not is_signed("GET", f"{address}&versionId=1", HOST, ACCOUNT, KEY)
    assert not is_signed("GET", address, HOST, ACCOUNT, KEY + "x")
    assert not is_signed("GET", presigned(url, key="guess"), HOST, ACCOUNT, KEY)
    assert not is_signed("GET", presigned(url, account="me"), HOST, ACCOUNT, KEY)


@pytest.mark.parametrize(
    ("minutes", "seconds", "holds"),
    [(4, 300, True), (6, 300, False), (6, 3600, True), (-14, 300, True), (-16, 300, False)],
)
def test_a_presigned_address_holds_for_as_long_as_it_says(minutes: int, seconds: int, holds: bool):
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
    assert is_signed("GET", presigned(URLS[0], seconds), HOST, ACCOUNT, KEY, now) is holds


def test_a_presigned_address_cannot_be_made_to_hold_longer():
    address = presigned(URLS[0])
    assert not is_signed("GET", address.replace("=300", "=900"), HOST, ACCOUNT, KEY)
    assert not is_signed("GET", presigned(URLS[0], 8 * 24 * 3600), HOST, ACCOUNT, KEY)
    for wrong in ("-300", "x", ""):
        assert not is_signed("GET", address.replace("=300", f"={wrong}"), HOST, ACCOUNT, KEY)

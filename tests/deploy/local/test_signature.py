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

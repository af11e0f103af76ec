"""Addresses of object stores: what is taken, and what is refused without being repeated."""

from __future__ import annotations

import pytest
from paceline.platform.errors import UserError
from paceline.platform.home import runs_folder
from paceline.platform.storage.location import Location, is_object_store, parse


@pytest.mark.parametrize(
    ("storage", "location"),
    [
        ("s3://bucket", Location("bucket")),
        ("s3://bucket/", Location("bucket")),
        ("s3://my.bucket/a/b/", Location("my.bucket", "a/b")),
        ("s3://bucket/a?region=eu-central-1", Location("bucket", "a", "", "eu-central-1")),
        (
            "s3://bucket/a?endpoint_override=http://host:9000",
            Location("bucket", "a", "http://host:9000"),
        ),
        (
            "s3://bucket/a?endpoint_override=host%3A9000&scheme=http",
            Location("bucket", "a", "http://host:9000"),
        ),
    ],
)
def test_an_address_is_taken_apart_and_put_together_again(storage: str, location: Location):
    assert parse(storage) == location
    assert parse(location.uri) == location


def test_what_an_address_leaves_open_is_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://host:9000/")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert parse("s3://bucket/a") == Location("bucket", "a", "http://host:9000", "us-west-2")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://other")
    assert parse("s3://bucket/a?region=x").endpoint == "https://other"
    # Another process may lack the variables; the address has it all.
    full = parse("s3://bucket/a").uri
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert parse(full).endpoint == "https://other"


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ("gs://bucket/a", "s3://bucket/prefix"),
        ("file:///mnt/shared", "--storage /mnt/shared"),
        ("s3://", "s3://bucket/prefix"),
        ("s3://bucket/a/../b", "s3://bucket/prefix"),
        ("s3://bucket/a//b", "s3://bucket/prefix"),
        ("s3://bucket/a?secret_key=x", "options are of"),
        ("s3://bucket/a?endpoint_override=ftp://host", "endpoint_override"),
        ("s3://bucket/a?endpoint_override=http://me:hunter22@host", "endpoint_override"),
        ("s3://key:hunter22@bucket/a", "without credentials"),
    ],
)
def test_another_address_is_refused_and_no_password_repeated(storage: str, told: str):
    with pytest.raises(UserError) as caught:
        runs_folder(storage)
    assert told in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_a_folder_is_no_object_store():
    assert not is_object_store(None)
    assert not is_object_store("/mnt/shared")
    assert is_object_store("s3://bucket")


def test_a_state_stays_under_the_home(paceline_home):
    assert runs_folder("s3://bucket/a") == paceline_home / "runs"

"""The cluster that a home knows: what is written, and what a process is told of it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from paceline.deploy.cluster_profile import (
    Profile,
    cluster_folder,
    environment,
    host_and_port,
    read_profile,
    write_private,
    write_profile,
)
from paceline.platform.errors import UserError

SECRET = "nobody-may-see-this"


@pytest.fixture
def profile(paceline_home: Path) -> Profile:
    folder = cluster_folder()
    folder.mkdir(mode=0o700)
    write_private(folder / "password", f"{SECRET}\n")
    keys = f"[default]\naws_access_key_id = us%er\naws_secret_access_key = {SECRET}\n"
    write_private(folder / "credentials", keys)
    profile = Profile(
        "paceline",
        "127.0.0.1:6379",
        "http://127.0.0.1:8265",
        str(folder / "token"),
        "http://127.0.0.1:5000",
        "admin",
        str(folder / "password"),
        "s3://paceline/runs?endpoint_override=http://127.0.0.1:7070&region=us-east-1",
        str(folder / "credentials"),
    )
    write_profile(profile, folder)
    return profile


def test_a_home_without_a_cluster_has_no_profile(paceline_home: Path):
    assert read_profile() is None


def test_a_profile_is_read_as_it_was_written_and_holds_no_secret(profile: Profile):
    path = cluster_folder() / "profile.json"
    assert read_profile() == profile
    assert SECRET not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_process_is_told_all_it_needs(profile: Profile):
    assert environment(profile) == {
        "RAY_ADDRESS": "127.0.0.1:6379",
        "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:8265",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": profile.token_path,
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": SECRET,
        "AWS_ACCESS_KEY_ID": "us%er",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:7070",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def test_a_damaged_profile_and_a_lost_secret_are_one_message_each(profile: Profile):
    (cluster_folder() / "password").unlink()
    with pytest.raises(UserError, match="secret password must be readable"):
        environment(profile)
    (cluster_folder() / "profile.json").write_text('{"name": "half"')
    with pytest.raises(UserError, match="must be what `paceline cluster up` wrote"):
        read_profile()


def test_addresses_are_taken_apart():
    assert host_and_port("127.0.0.1:6379") == ("127.0.0.1", 6379)
    assert host_and_port("http://127.0.0.1:8265") == ("127.0.0.1", 8265)

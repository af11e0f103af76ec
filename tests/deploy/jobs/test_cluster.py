"""Which cluster takes a job, who answers there, and who is shown the token; small real servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from paceline.deploy.cluster_profile import Profile, write_profile
from paceline.deploy.jobs.cluster import VARIABLES, Jobs, find_cluster
from paceline.deploy.jobs.record_link import tracking_uri
from paceline.platform.errors import PacelineError, UserError


class Dashboard:
    """Answers as Ray's dashboard does, or as something else, and keeps what it was shown."""

    def __init__(self, token: str | None = None, body: str = '{"ray_version": "2.60.0"}'):
        self.shown: list[str | None] = []
        dashboard = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                header = self.headers.get("Authorization")
                dashboard.shown.append(header)
                wanted = None if token is None else f"Bearer {token}"
                code = 200 if header == wanted or wanted is None else 403 if header else 401
                self.send_response(code)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *words: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, paceline_home: Path, tmp_path: Path) -> None:
    for name in (*VARIABLES, "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def open_dashboard() -> Iterator[Dashboard]:
    made = Dashboard()
    yield made
    made.close()


@pytest.fixture
def closed_dashboard() -> Iterator[Dashboard]:
    made = Dashboard("the-token")
    yield made
    made.close()


def keep_profile(home: Path, url: str, token: str = "the-token") -> Profile:
    folder = home / "cluster"
    folder.mkdir()
    (folder / "token").write_text(f"{token}\n")
    profile = Profile(
        "mine", "h:6379", url, str(folder / "token"), "http://127.0.0.1:5000", "me", "", "/storage"
    )
    write_profile(profile, folder)
    return profile


def test_without_any_cluster_it_is_told_how_to_name_one():
    with pytest.raises(UserError) as caught:
        find_cluster(None)
    assert "paceline cluster up" in caught.value.remedy


@pytest.mark.parametrize("address", ["auto", "ray://h:10001", "http://", "http://h:99999", "a b"])
def test_an_address_that_is_none_of_a_dashboards_is_told(address: str):
    with pytest.raises(UserError, match="`--address` must be the http address"):
        find_cluster(address)


def test_credentials_in_an_address_are_refused_and_not_repeated():
    with pytest.raises(UserError) as caught:
        find_cluster("http://me:hush@h:8265")
    assert "hush" not in str(caught.value)


def test_the_flag_wins_over_the_environment_and_that_over_the_profile(
    paceline_home: Path, monkeypatch: pytest.MonkeyPatch
):
    keep_profile(paceline_home, "http://127.0.0.1:1")
    assert find_cluster(None).url == "http://127.0.0.1:1"
    monkeypatch.setenv("RAY_ADDRESS", "h:6379")  # no dashboard's
    assert find_cluster(None).url == "http://127.0.0.1:1"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://of-variable:2")
    assert find_cluster(None).url == "http://of-variable:2"
    assert find_cluster("of-flag:3").url == "http://of-flag:3"


def test_a_request_goes_where_the_flag_says_whatever_rays_variables_say(
    open_dashboard: Dashboard, closed_dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", closed_dashboard.url)
    client = Jobs(find_cluster(open_dashboard.url))
    client._do_request("GET", "/api/jobs/")
    assert len(open_dashboard.shown) == 2
    assert closed_dashboard.shown == []


def test_the_token_of_the_known_cluster_is_shown_to_it_and_to_no_other(
    paceline_home: Path, closed_dashboard: Dashboard, open_dashboard: Dashboard
):
    keep_profile(paceline_home, closed_dashboard.url)
    Jobs(find_cluster(None))
    assert set(closed_dashboard.shown) == {"Bearer the-token"}
    Jobs(find_cluster(open_dashboard.url))
    assert set(open_dashboard.shown) == {None}


def test_no_token_and_a_wrong_one_are_one_message_each(
    closed_dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with pytest.raises(UserError, match=r"without a token \(401\)") as caught:
        Jobs(find_cluster(closed_dashboard.url))
    assert "RAY_AUTH_TOKEN_PATH" in caught.value.remedy
    (tmp_path / "t").write_text("wrong-one")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "t"))
    with pytest.raises(UserError, match=r"\(403\)") as caught:
        Jobs(find_cluster(closed_dashboard.url))
    assert str(tmp_path / "t") in str(caught.value)
    assert "wrong-one" not in str(caught.value)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the-token")
    Jobs(find_cluster(closed_dashboard.url))


@pytest.mark.parametrize("content", [None, "", "two\nlines"])
def test_a_token_file_without_a_token_is_told(
    content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    if content is not None:
        (tmp_path / "t").write_text(content)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "t"))
    with pytest.raises(UserError, match="RAY_AUTH_TOKEN_PATH") as caught:
        find_cluster("http://h:1")
    assert content is not None or "unset RAY_AUTH_TOKEN_PATH" in caught.value.remedy


@pytest.mark.parametrize("body", ["<html>", "[]", json.dumps({"version": "3.17"}), "null"])
def test_a_server_that_is_not_ray_is_told(body: str):
    other = Dashboard(body=body)
    with pytest.raises(UserError, match="another server answers there"):
        Jobs(find_cluster(other.url))
    other.close()


def test_an_address_where_nobody_listens_is_told_within_seconds(open_dashboard: Dashboard):
    open_dashboard.close()
    with pytest.raises(UserError, match="can be reached"):
        Jobs(find_cluster(open_dashboard.url))


def test_a_cluster_that_goes_away_is_told(open_dashboard: Dashboard):
    client = Jobs(find_cluster(open_dashboard.url))
    open_dashboard.close()
    with pytest.raises(PacelineError, match="must answer"):
        client.list_jobs()


def test_a_tracking_server_that_the_cluster_cannot_reach_is_told(paceline_home: Path):
    far, near = find_cluster("http://cluster.example:8265"), find_cluster("http://127.0.0.1:8265")
    with pytest.raises(UserError, match="that the cluster reaches"):
        tracking_uri("http://127.0.0.1:5000", far)
    with pytest.raises(UserError, match="that the cluster reaches"):
        tracking_uri("sqlite:////tmp/x.db", far)
    assert tracking_uri("http://127.0.0.1:5000", near) == "http://127.0.0.1:5000"
    assert tracking_uri(None, far) is None


def test_a_tracking_uri_with_a_password_is_refused_and_not_repeated():
    pytest.importorskip("psycopg", reason="needs the driver: pip install 'paceline[cluster]'")
    with pytest.raises(UserError) as caught:
        tracking_uri("postgresql+psycopg://me:hush@127.0.0.1/db", find_cluster("127.0.0.1:8265"))
    assert "hush" not in str(caught.value)


def test_the_tracking_server_of_the_known_cluster_is_taken(paceline_home: Path):
    keep_profile(paceline_home, "http://127.0.0.1:8265")
    assert tracking_uri(None, find_cluster(None)) == "http://127.0.0.1:5000"

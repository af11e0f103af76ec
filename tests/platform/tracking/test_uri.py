from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from paceline.platform.errors import UserError
from paceline.platform.tracking.store import Store
from paceline.platform.tracking.store_check import check_store
from paceline.platform.tracking.uri import public_uri, resolve_uri


def test_no_uri_is_one_absolute_file_under_home(tmp_path: Path):
    assert resolve_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"


def test_mlflows_own_variable_comes_before_the_file_and_behind_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", " http://127.0.0.1:5000/ ")
    assert resolve_uri(None, tmp_path) == "http://127.0.0.1:5000"
    assert resolve_uri("sqlite:////x.db", tmp_path) == "sqlite:////x.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert resolve_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"


def test_what_is_wrong_with_the_variable_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(UserError) as caught:
        resolve_uri(None, tmp_path)
    assert caught.value.where == "MLFLOW_TRACKING_URI"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9/")
    with pytest.raises(UserError) as caught:
        check_store(resolve_uri(None, tmp_path))
    assert caught.value.where == "MLFLOW_TRACKING_URI"
    assert "unset MLFLOW_TRACKING_URI" in caught.value.remedy
    with pytest.raises(UserError) as caught:
        check_store("http://127.0.0.1:10")
    assert caught.value.where == "--tracking-uri"
    assert "leave the flag out" in caught.value.remedy


@pytest.mark.parametrize(
    ("uri", "resolved"),
    [
        ("sqlite:////var/tmp/x.db", "sqlite:////var/tmp/x.db"),
        ("  sqlite:////var/tmp/../x.db ", "sqlite:////var/x.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://mlflow.example.org/team/", "https://mlflow.example.org/team"),
    ],
)
def test_absolute_uris_are_taken(uri: str, resolved: str):
    assert resolve_uri(uri, Path("/home")) == resolved


REFUSED = [
    # uri, what must hold, what the remedy names
    ("", "the URI of an MLflow store", "sqlite:////absolute/file.db"),
    ("   ", "the URI of an MLflow store", "http(s)://host:port"),
    ("sqlite:///mlflow.db", "absolute (four slashes)", "sqlite:////"),
    ("sqlite:///./runs/mlflow.db", "absolute (four slashes)", "runs/mlflow.db"),
    ("sqlite://mlflow.db", "absolute (four slashes)", "mlflow.db"),
    ("sqlite://", "the path of a file", "sqlite:////absolute/file.db"),
    ("sqlite:///:memory:", "the path of a file", "sqlite:////absolute/file.db"),
    ("sqlite:////a/b.db?mode=ro", "without `?` and `%`", "sqlite:////absolute/file.db"),
    ("sqlite:////a%41/b.db", "without `?` and `%`", "PACELINE_HOME"),
    ("file:./mlruns", "given up file stores", "sqlite:////"),
    ("file:///tmp/mlruns", "given up file stores", "sqlite:////tmp/mlruns/mlflow.db"),
    ("./mlruns", "given up file stores", "sqlite:////"),
    ("/tmp/mlruns", "given up file stores", "sqlite:////tmp/mlruns/mlflow.db"),
    ("mlflow.db", "given up file stores", "sqlite:////"),
    ("ftp://host/x", "the URI of an MLflow store", "http(s)://host:port"),
    ("databricks", "given up file stores", "sqlite:////"),
    ("databricks://profile", "the URI of an MLflow store", "http(s)://host:port"),
    ("http://", "with a host", "http://127.0.0.1:5000"),
    ("http:///path", "with a host", "http://127.0.0.1:5000"),
    ("http://host:port", "with a host", "http://127.0.0.1:5000"),
    ("http://host:99999", "with a host", "http://127.0.0.1:5000"),
    ("http://[::1", "with a host", "http://127.0.0.1:5000"),
    ("http://me:secret@host:5000", "without a password", "MLFLOW_TRACKING_USERNAME"),
    ("http://host:5000/#/experiments/1", "not a page's", "http://host:5000"),
    ("http://host:5000/?x=1", "not a page's", "http://host:5000"),
    ("mysql://me@host/db", "driver 'MySQLdb'", "install"),
    ("postgresql+nosuch://me@host/db", "a database URI", "postgresql://"),
    ("postgresql://me@host:port/db", "a database URI", "postgresql://"),
]


@pytest.mark.parametrize(("uri", "rule", "remedy"), REFUSED, ids=[row[0] or "-" for row in REFUSED])
def test_a_wrong_uri_is_told_with_its_remedy(uri: str, rule: str, remedy: str):
    with pytest.raises(UserError) as caught:
        resolve_uri(uri, Path("/home"))
    assert re.match(r"`tracking.uri` must be .*, but is '.*'\.$", caught.value.what)
    assert rule in caught.value.what
    assert remedy in caught.value.remedy
    assert "secret" not in str(caught.value)


def test_postgresql_without_its_driver_names_the_extra():
    pytest.importorskip("sqlalchemy")
    try:
        import psycopg  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="psycopg") as caught:
            resolve_uri("postgresql://me:secret@host/db", Path("/home"))
        assert "paceline[cluster]" in caught.value.remedy
        assert "secret" not in str(caught.value)
    else:
        with pytest.raises(UserError, match="names its database"):
            resolve_uri("postgresql://me@host", Path("/home"))


def test_a_password_is_hidden_from_view():
    assert public_uri("postgresql://me:pw@host/db") == "postgresql://me:***@host/db"
    assert public_uri("sqlite:////a/b.db") == "sqlite:////a/b.db"


def test_looking_at_a_uri_does_not_import_mlflow():
    code = (
        "import sys; from pathlib import Path; from paceline.platform.tracking.uri import *; "
        "resolve_uri(None, Path('/x')); assert not {'mlflow', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def told(uri: str) -> str:
    """The message of the check, which must come within seconds."""
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        check_store(uri)
    assert time.monotonic() - start < 15
    return caught.value.what


def test_a_file_that_is_no_database_is_told(tmp_path: Path):
    (tmp_path / "mlflow.db").write_bytes(b"not a database " * 100)
    assert "file is not a database" in told(f"sqlite:///{tmp_path}/mlflow.db")


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path):
    assert "unable to open database file" in told(f"sqlite:///{tmp_path}")


def test_another_programs_database_is_not_filled_with_our_tables(tmp_path: Path):
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    assert "not another database" in told(f"sqlite:///{tmp_path}/other.db")


def test_a_home_that_cannot_be_created_is_told():
    with pytest.raises(UserError, match="Not a directory") as caught:
        Store(resolve_uri(None, Path("/dev/null/home")), "test").open()
    assert "PACELINE_HOME" in caught.value.remedy


@contextmanager
def without_root() -> Iterator[None]:
    """Root may write anywhere; look with the rights of `nobody`."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("read_only", ["file", "folder", "both", "folder without a file"])
def test_a_store_that_is_read_only_is_told(migrated_store: Path, read_only: str):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        path = Path(name, "mlflow.db")
        if "without" not in read_only:
            path.write_bytes(migrated_store.read_bytes())
            path.chmod(0o444 if read_only in ("file", "both") else 0o666)
        Path(name).chmod(0o777 if read_only == "file" else 0o555)
        try:
            with without_root():
                what = told(f"sqlite:///{path}")
        finally:
            Path(name).chmod(0o755)
    assert re.search(r"readonly|read-only|unable to open|Permission denied", what)


def test_an_absent_server_is_told_at_once():
    assert "Connection refused" in told("http://127.0.0.1:9")


def test_a_host_without_a_name_is_told():
    assert "can be reached" in told("http://no-such-host.invalid:5000")


class Teapot(BaseHTTPRequestHandler):
    status = 403

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A web server that is no MLflow server."""
    handler = type("Handler", (Teapot,), {"status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "MLFLOW_TRACKING_USERNAME"), (403, "--allowed-hosts")]
)
def test_a_server_that_does_not_let_us_in_is_told(status: int, remedy: str):
    with answering(status) as uri, pytest.raises(UserError) as caught:
        check_store(uri)
    assert remedy in caught.value.remedy


def test_a_web_server_that_is_no_mlflow_server_is_told():
    with answering(404) as uri, pytest.raises(UserError, match="MLflow"):
        Store(uri, "test").open()

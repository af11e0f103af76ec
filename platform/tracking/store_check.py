"""Whether a store stands behind a tracking URI: one short look.

MLflow tries a dead or broken store again for minutes before it raises.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ..errors import UserError
from .uri import FLAG, VARIABLE, is_of_environment, refused, sqlite_path

if TYPE_CHECKING:
    import requests

_CREDENTIALS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
_CREDENTIALS_WANTED = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
_SQLITE = "sqlite:///"


def check_store(uri: str) -> None:
    """Look at the store once, so that a dead one is told within seconds.

    Args:
        uri: What `resolve_uri` returned.

    Raises:
        UserError: The server or the database does not answer, or the file is not a store that
            can be written.
    """
    path = sqlite_path(uri)
    if path is not None:
        _check_sqlite(path)
    elif uri.startswith("http"):
        _check_http(uri)
    else:
        _check_database(uri)


def _check_sqlite(path: Path) -> None:
    remedy = f"another file: {FLAG} sqlite:////absolute/file.db"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # The right to create is asked for as the store will use it: SQLite writes beside it.
            tempfile.TemporaryFile(dir=path.parent).close()
            return
    except OSError as error:
        rule = f"a file that can be created ({error.strerror})"
        raise refused(f"{_SQLITE}{path}", rule, f"{remedy}, or set PACELINE_HOME") from None
    try:
        tables = _tables(path)
    except sqlite3.Error as error:
        rule = f"a SQLite file that can be written ({error})"
        raise refused(f"{_SQLITE}{path}", rule, remedy) from None
    if tables and "experiments" not in tables:
        raise refused(f"{_SQLITE}{path}", "an MLflow store, not another database", remedy)


def _tables(path: Path) -> set[str]:
    """The tables of a SQLite file, after a write that was taken back.

    Raises:
        sqlite3.Error: It is no database, cannot be written, or stays locked for 20 s.
    """
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=20)
    try:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        # Beginning to write is not enough: SQLite grants it on a read-only file too.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE paceline_may_write (x)")
        connection.rollback()
    finally:
        connection.close()
    return {row[0] for row in rows}


def _check_http(uri: str) -> None:
    import requests

    try:
        answer = requests.get(f"{uri}/version", timeout=(5, 20), auth=_show_account)
    except requests.RequestException as error:
        rule = f"a server that can be reached ({innermost(error)})"
        remedy = f"start it with `mlflow server`, or {_local_file_instead(uri)}"
        raise refused(uri, rule, remedy) from None
    if answer.status_code == 429 or answer.status_code >= 500:
        remedy = f"wait until it does, or {_local_file_instead(uri)}"
        raise refused(uri, f"a server that works ({answer.status_code})", remedy)
    if answer.status_code in (401, 403):
        raise refused_entry(uri, answer.status_code)


def _local_file_instead(uri: str) -> str:
    how = f"unset {VARIABLE}" if is_of_environment(uri) else "leave the flag out"
    return f"{how} to write to a local file"


def _show_account(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Show the account that MLflow's client shows: of its variables, or of `~/.mlflow`."""
    from mlflow.utils.credentials import read_mlflow_creds
    from requests.auth import HTTPBasicAuth

    account = read_mlflow_creds()
    if account.username and account.password:
        return HTTPBasicAuth(account.username.encode(), account.password.encode())(request)
    if token := os.environ.get(_CREDENTIALS[0]):
        request.headers["Authorization"] = f"Bearer {token}"
    return request


def refused_entry(uri: str, status: int) -> UserError:
    """A server that does not let us in.

    Args:
        uri: The server.
        status: 401: it wants another user, password or token; 403: another host name or right.
    """
    given = [name for name in _CREDENTIALS if os.environ.get(name)]
    remedy = f"see that {' and '.join(given)} are right" if given else f"set {_CREDENTIALS_WANTED}"
    if status == 403:
        host = urlsplit(uri).netloc
        remedy += f", or start the server with `mlflow server --allowed-hosts {host}`"
    return refused(uri, f"a server that lets us in ({status})", remedy)


def _check_database(uri: str) -> None:
    import sqlalchemy

    patience = {} if uri.startswith("mssql") else {"connect_timeout": 5}
    engine = sqlalchemy.create_engine(uri, connect_args=patience)
    try:
        engine.connect().close()
    except Exception as error:  # each driver raises classes of its own
        rule = f"a database that can be reached ({innermost(error)})"
        raise refused(uri, rule, "see that it runs and that user and name are right") from None
    finally:
        engine.dispose()


def innermost(error: BaseException) -> str:
    """The innermost reason of a network error, which comes wrapped several times."""
    inner: BaseException = error
    while (nested := getattr(inner, "reason", None) or inner.__cause__ or inner.__context__) and (
        isinstance(nested, BaseException)
    ):
        inner = nested
    return (str(inner).strip() or type(inner).__name__).splitlines()[0][:200]

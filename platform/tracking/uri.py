"""Where the record goes: which tracking URIs are taken, and whether a store stands behind one.

MLflow reads a relative `sqlite:///mlflow.db` from the working directory, which Ray changes for
each trial, refuses file stores, and tries a dead or broken store again for minutes before it
raises. So a URI is checked here first, by rules, and then by one short look at the store itself.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ..errors import UserError
from .redaction import redact

if TYPE_CHECKING:
    import requests

FLAG = "--tracking-uri"
_CREDENTIALS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
_CREDENTIALS_WANTED = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
_SQLITE = "sqlite:///"
_DATABASES = ("postgresql", "mysql", "mssql")
_FORMS = "sqlite:////absolute/file.db, postgresql://user@host/name or http(s)://host:port"


def resolve_uri(uri: str | None, home: Path) -> str:
    """The absolute URI of the store, checked by its form alone.

    Args:
        uri: What the user gave; `None` means one SQLite file under `home`.
        home: `$PACELINE_HOME`.

    Returns:
        `sqlite:////absolute/file.db`, `http(s)://host...` without a trailing slash, or a
        database URI whose driver is installed.

    Raises:
        UserError: The URI is relative, a file store, incomplete or of an unknown kind.
    """
    if uri is None:
        uri = f"{_SQLITE}{home.expanduser().absolute() / 'mlflow.db'}"
    uri = uri.strip()
    scheme = uri.partition(":")[0].lower() if ":" in uri else ""
    if scheme == "sqlite":
        return _sqlite(uri)
    if scheme in ("http", "https"):
        return _http(uri)
    if scheme.partition("+")[0] in _DATABASES:
        return _database(uri)
    if uri and scheme in ("", "file"):
        path = Path(re.sub("^/+", "/", uri.removeprefix("file:"))).expanduser().absolute()
        raise _refused(
            uri,
            "a database or a server, because MLflow has given up file stores",
            f"{FLAG} {_SQLITE}{path / 'mlflow.db'}",
        )
    raise _refused(uri, "the URI of an MLflow store", f"one of these forms: {_FORMS}")


def sqlite_path(uri: str) -> Path | None:
    """The file behind a resolved SQLite URI; `None` for any other store."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


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


def public_uri(uri: str) -> str:
    """The URI without its password, fit for a terminal, a tag or a file."""
    return redact(uri)


def _refused(uri: str, rule: str, remedy: str) -> UserError:
    return UserError(f"`tracking.uri` must be {rule}, but is {public_uri(uri)!r}.", FLAG, remedy)


def _sqlite(uri: str) -> str:
    path = uri.partition(":")[2].lstrip("/")
    # SQLAlchemy would read options after a `?` and another letter from a `%`.
    if {"?", "%"} & set(uri) or not path or path == ":memory:":
        remedy = f"{FLAG} sqlite:////absolute/file.db, or another PACELINE_HOME"
        raise _refused(uri, "the path of a file without `?` and `%`", remedy)
    if not uri.lower().startswith("sqlite:////"):
        absolute = Path(path).expanduser().absolute()
        raise _refused(uri, "absolute (four slashes)", f"{FLAG} {_SQLITE}{absolute}")
    return f"{_SQLITE}{os.path.normpath('/' + path)}"


def _http(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("http://")
    if not host:
        raise _refused(uri, "an address with a host", f"{FLAG} http://127.0.0.1:5000")
    base = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    if parts.username or parts.password:
        raise _refused(
            uri,
            "an address without a password",
            f"{FLAG} {base}, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    if parts.query or parts.fragment:
        raise _refused(uri, "the server's address, not a page's", f"{FLAG} {base}")
    return uri.rstrip("/")


def _database(uri: str) -> str:
    # The import takes 0.2 s, so only those who name a database pay for it.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(uri)
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        extra = "pip install 'paceline[cluster]'" if "psycopg" in str(error) else "install it"
        raise _refused(
            uri, f"served by the driver {error.name!r}, which is missing", extra
        ) from None
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise _refused(uri, "a database URI", f"one of these forms: {_FORMS}") from None
    if not url.database:
        raise _refused(uri, "a URI that names its database", f"{FLAG} {uri.rstrip('/')}/mlflow")
    return uri


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
        raise _refused(f"{_SQLITE}{path}", rule, f"{remedy}, or set PACELINE_HOME") from None
    try:
        tables = _tables(path)
    except sqlite3.Error as error:
        rule = f"a SQLite file that can be written ({error})"
        raise _refused(f"{_SQLITE}{path}", rule, remedy) from None
    if tables and "experiments" not in tables:
        raise _refused(f"{_SQLITE}{path}", "an MLflow store, not another database", remedy)


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
        remedy = "start it with `mlflow server`, or leave the flag out to write to a local file"
        raise _refused(uri, rule, remedy) from None
    if answer.status_code == 429 or answer.status_code >= 500:
        remedy = "wait until it does, or leave the flag out to write to a local file"
        raise _refused(uri, f"a server that works ({answer.status_code})", remedy)
    if answer.status_code in (401, 403):
        raise refused_entry(uri, answer.status_code)


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
    return _refused(uri, f"a server that lets us in ({status})", remedy)


def _check_database(uri: str) -> None:
    import sqlalchemy

    patience = {} if uri.startswith("mssql") else {"connect_timeout": 5}
    engine = sqlalchemy.create_engine(uri, connect_args=patience)
    try:
        engine.connect().close()
    except Exception as error:  # each driver raises classes of its own
        rule = f"a database that can be reached ({innermost(error)})"
        raise _refused(uri, rule, "see that it runs and that user and name are right") from None
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

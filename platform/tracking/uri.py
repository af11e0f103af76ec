"""Where the record goes: which tracking URIs are taken, by rules.

MLflow reads a relative `sqlite:///mlflow.db` from the working directory, which Ray changes for
each trial, and refuses file stores. Whether a store stands behind a URI is `store_check`'s to see.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UserError
from .redaction import redact

FLAG, VARIABLE = "--tracking-uri", "MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"
_DATABASES = ("postgresql", "mysql", "mssql")
_FORMS = "sqlite:////absolute/file.db, postgresql://user@host/name or http(s)://host:port"


def resolve_uri(uri: str | None, home: Path) -> str:
    """The absolute URI of the store, checked by its form alone.

    Args:
        uri: What the user gave; `None` means what MLflow's own variable names, and without it one
            SQLite file under `home`.
        home: `$PACELINE_HOME`.

    Returns:
        `sqlite:////absolute/file.db`, `http(s)://host...` without a trailing slash, or a
        database URI whose driver is installed.

    Raises:
        UserError: The URI is relative, a file store, incomplete or of an unknown kind.
    """
    if uri is None:
        uri = _of_environment() or f"{_SQLITE}{home.expanduser().absolute() / 'mlflow.db'}"
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
        raise refused(
            uri,
            "a database or a server, because MLflow has given up file stores",
            f"{FLAG} {_SQLITE}{path / 'mlflow.db'}",
        )
    raise refused(uri, "the URI of an MLflow store", f"one of these forms: {_FORMS}")


def sqlite_path(uri: str) -> Path | None:
    """The file behind a resolved SQLite URI; `None` for any other store."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def public_uri(uri: str) -> str:
    """The URI without its password, fit for a terminal, a tag or a file."""
    return redact(uri)


def _of_environment() -> str:
    return os.environ.get(VARIABLE, "").strip()


def is_of_environment(uri: str) -> bool:
    """Whether a URI is what MLflow's own variable names."""
    return bool(uri) and uri.rstrip("/") == _of_environment().rstrip("/")


def refused(uri: str, rule: str, remedy: str) -> UserError:
    """A store that is not taken, told with where its URI comes from."""
    place = VARIABLE if is_of_environment(uri) else FLAG
    return UserError(f"`tracking.uri` must be {rule}, but is {public_uri(uri)!r}.", place, remedy)


def _sqlite(uri: str) -> str:
    path = uri.partition(":")[2].lstrip("/")
    # SQLAlchemy would read options after a `?` and another letter from a `%`.
    if {"?", "%"} & set(uri) or not path or path == ":memory:":
        remedy = f"{FLAG} sqlite:////absolute/file.db, or another PACELINE_HOME"
        raise refused(uri, "the path of a file without `?` and `%`", remedy)
    if not uri.lower().startswith("sqlite:////"):
        absolute = Path(path).expanduser().absolute()
        raise refused(uri, "absolute (four slashes)", f"{FLAG} {_SQLITE}{absolute}")
    return f"{_SQLITE}{os.path.normpath('/' + path)}"


def _http(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("http://")
    if not host:
        raise refused(uri, "an address with a host", f"{FLAG} http://127.0.0.1:5000")
    base = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    if parts.username or parts.password:
        raise refused(
            uri,
            "an address without a password",
            f"{FLAG} {base}, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    if parts.query or parts.fragment:
        raise refused(uri, "the server's address, not a page's", f"{FLAG} {base}")
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
        raise refused(
            uri, f"served by the driver {error.name!r}, which is missing", extra
        ) from None
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise refused(uri, "a database URI", f"one of these forms: {_FORMS}") from None
    if not url.database:
        raise refused(uri, "a URI that names its database", f"{FLAG} {uri.rstrip('/')}/mlflow")
    return uri

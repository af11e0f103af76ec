"""The one door to MLflow: safe defaults first, then the import, then one client for each store.

Everything goes through `MlflowClient` and run ids. MLflow's fluent interface (`mlflow.log_metric`,
`mlflow.start_run`) keeps its active run for each thread, and Ray trains in threads of its own.

`import mlflow` takes 1.2 s whichever of its modules is asked for, because each of them runs the
package's `__init__`; so no module that a quick command needs may import this one.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

# What MLflow reads from the environment. A user who sets one of these wins.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A store is shared; a pickle in it would run as code on whoever opens the model.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # These two would write into standard output, which belongs to `--json`, and the live table.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow retries a dead server for minutes inside each call. Our writer keeps what it could not
    # send and tries again by itself, so a call may give up after 1 + 2 + 4 seconds.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # "Creating initial tables..." is not for our users; a warning is.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)

from mlflow import MlflowClient  # noqa: E402 the defaults above must stand before the import
from mlflow.entities import Metric, Param, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from ..errors import RunError  # noqa: E402
from .uri import public_uri  # noqa: E402

__all__ = [
    "Metric",
    "MlflowClient",
    "MlflowException",
    "Param",
    "RunTag",
    "connect",
    "cut",
    "entity_name",
    "now_ms",
    "reason",
    "told",
]

# MLflow's own limits for one call, one tag and one name.
MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_PARAM_CHARS = 6000
MAX_TAG_CHARS = 8000
MAX_NAME_CHARS = 250

# Alembic reports each migration; a fresh store has several dozen.
logging.getLogger("alembic").setLevel(logging.WARNING)
# These two print what they also raise, with a traceback or at each retry; we tell it once.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


@functools.cache
def connect(uri: str) -> MlflowClient:
    """The client of a store, one for each process; a client may be shared between threads.

    Args:
        uri: What `resolve_uri` returned. Nothing is asked of the store yet.
    """
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def told(uri: str) -> Iterator[None]:
    """Turn what MLflow raises into our one message.

    Raises:
        RunError: The store refused or did not answer.
    """
    try:
        yield
    except MlflowException as error:
        raise RunError(
            f"`tracking.uri` must be a store that answers, but {public_uri(uri)} says: "
            f"{reason(error)}",
            "--tracking-uri",
            "see that the server runs and the disk has room, then `paceline resume`",
        ) from error


def reason(error: MlflowException) -> str:
    """The first line of what MLflow says, at most 500 characters of it."""
    return cut((str(error).strip() or type(error).__name__).splitlines()[0], 500)


@functools.lru_cache(maxsize=10_000)
def entity_name(name: str) -> str:
    """A metric's, param's or tag's name as MLflow takes it.

    One refused name would cost the whole batch it travels in. Allowed are letters, digits and
    ``_ - . : /`` and spaces, at most 250 of them, which must also be a clean relative path.

    Args:
        name: Any text.

    Returns:
        `name` itself when it is allowed, else the nearest allowed name, never an empty one.
    """
    name = re.sub(r"[^/\w.\- :]", "_", str(name))
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[:MAX_NAME_CHARS].rstrip("/") or "_"


def cut(text: str, limit: int) -> str:
    """`text`, or its beginning and a mark that says how long it was, `limit` characters in all."""
    if len(text) <= limit:
        return text
    mark = f"... (cut, {len(text)} characters)"
    return text[: limit - len(mark)] + mark


def now_ms() -> int:
    """The wall clock in milliseconds since 1970, MLflow's unit of time."""
    return time.time_ns() // 1_000_000

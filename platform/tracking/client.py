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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

# What MLflow reads from the environment. A user who sets one of these wins.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A store is shared; a pickle in it would run as code on whoever opens the model.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # These two would write into standard output, which belongs to `--json`, and the live table.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow retries a dead server for minutes inside each call, waits for as long as an answer's
    # Retry-After says, and creates a run anew when the answer to a first try was lost. So it tries
    # once here; `asked` and the sender try again by themselves.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # "Creating initial tables..." is not for our users; a warning is.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)

from mlflow import MlflowClient  # noqa: E402 the defaults above must stand before the import
from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from ..errors import RunError  # noqa: E402
from .passing import is_passing  # noqa: E402
from .redaction import redact  # noqa: E402
from .store_check import innermost  # noqa: E402
from .uri import public_uri  # noqa: E402

__all__ = [
    "LoggedModelOutput",
    "Metric",
    "MlflowClient",
    "MlflowException",
    "Param",
    "RunTag",
    "asked",
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

PATIENCE_S = 15.0
T = TypeVar("T")

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


def asked(uri: str, question: Callable[[], T]) -> T:
    """Ask a store something that may be asked twice, and outwait what passes in seconds.

    Args:
        uri: What `resolve_uri` returned.
        question: The call.

    Raises:
        RunError: The store refused, or did not answer three times within `PATIENCE_S`.
    """
    started = time.monotonic()
    with told(uri):
        for wait_s in (0.5, 2.0):
            try:
                return question()
            except MlflowException as error:
                late = time.monotonic() - started + wait_s > PATIENCE_S
                if late or not is_passing(error):
                    raise
                time.sleep(wait_s)
        return question()


def reason(error: BaseException) -> str:
    """The first line of what MLflow says without secrets, at most 500 characters of it.

    Where that only announces a list, the last of what it lists comes too.
    """
    text, *more = (str(error).strip() or type(error).__name__).splitlines()
    if text.endswith(":") and more:
        text = f"{text} {more[-1].strip()}"
    if text.startswith("API request to http"):  # it says by which of its calls, and how it tried
        text = innermost(error)
    return cut(redact(text), 500)


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

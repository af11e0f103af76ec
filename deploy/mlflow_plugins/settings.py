"""The backend config of `mlflow run --backend paceline`: which cluster, and what the job takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mlflow.exceptions import ExecutionException
from mlflow.projects.utils import PROJECT_BUILD_IMAGE, PROJECT_DOCKER_AUTH
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from ...platform.errors import must, nearest

MLFLOWS_OWN = (PROJECT_BUILD_IMAGE, PROJECT_DOCKER_AUTH)  # its others are in capitals


@dataclass(frozen=True)
class Settings:
    """What a backend config may say.

    Args:
        address: `http://host:port` of Ray's dashboard; none: the known cluster.
        num_cpus: CPU cores that the entry point reserves.
        num_gpus: GPUs likewise.
        python: The interpreter on the cluster; none: see `Order`.
        exclude: Patterns of files that are not sent.
        follow: Whether to wait for the job and show what it writes; `mlflow run` leaves otherwise
            once the job is submitted.
    """

    address: str | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    python: str | None = None
    exclude: tuple[str, ...] = ()
    follow: bool = False


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Read a backend config; the entries that MLflow adds to it are left aside.

    Raises:
        ExecutionException: A key is unknown, with the nearest, or a value is not of its kind.
    """
    known = {field.name for field in fields(Settings)}
    given = {k: v for k, v in config.items() if not k.isupper() and k not in MLFLOWS_OWN}
    for key in given.keys() - known:
        close = nearest(key, known) or sorted(known)
        raise wrong(f"`backend_config` must have known keys, but has {key!r}. Try {close}.")
    for key in ("num_cpus", "num_gpus"):
        value = given.get(key, 0)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 <= value < math.inf:
            raise wrong(must(f"backend_config.{key}", "a number >= 0", value))
    for key in ("address", "python"):
        if not isinstance(given.get(key), (str, type(None))):
            raise wrong(must(f"backend_config.{key}", "text", given[key]))
    if not isinstance(given.get("follow", False), bool):
        raise wrong(must("backend_config.follow", "true or false", given["follow"]))
    exclude = given.get("exclude", [])
    if not isinstance(exclude, (list, tuple)) or any(not isinstance(one, str) for one in exclude):
        raise wrong(must("backend_config.exclude", "a list of patterns", exclude))
    return Settings(**{**given, "exclude": tuple(exclude)})


def wrong(what: str) -> ExecutionException:
    """A mistake of the user's, as the kind that `mlflow run` tells without a traceback."""
    return ExecutionException(what, error_code=INVALID_PARAMETER_VALUE)

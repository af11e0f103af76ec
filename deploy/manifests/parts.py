"""What several targets share: ports, names of secrets, the command that is run, sizes."""

from __future__ import annotations

import math
import shlex
from urllib.parse import urlsplit

from ...platform.errors import UserError, must
from ..values import ClusterValues

GCS_PORT, DASHBOARD_PORT, MLFLOW_PORT, S3_PORT, POSTGRES_PORT = 6379, 8265, 5000, 7070, 5432
PAGES = [f"http://{host}:{MLFLOW_PORT}" for host in ("localhost", "127.0.0.1")]
USER_ID = 10001  # of the image's account; above those of any host
HOME = "/home/paceline"
WORK = "/var/lib/paceline"  # what the image may write, beside /tmp
ENVIRONMENT_FILE = "paceline.env"
TOKEN = "RAY_AUTH_TOKEN"
MLFLOW_ACCOUNT = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
FLASK_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"

AUTH_CONFIG = "mlflow-auth.ini"
# Accounts are kept in the database of the record; who it is and its password come from the
# environment, as libpq reads it. The first account is made of two variables, without any default.
AUTH_TEXT = """\
[mlflow]
default_permission = READ
database_uri = {database_uri}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""
# MLflow unpickles models and starts jobs unless it is told not to.
MLFLOW_SAFETY = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def mlflow_command(values: ClusterValues, database_uri: str, hosts: list[str]) -> list[str]:
    """The server: accounts asked for, only these hosts answered, artifacts through it."""
    return [
        *("mlflow", "server", "--host=0.0.0.0", f"--port={MLFLOW_PORT}", "--workers=2"),
        "--app-name=basic-auth",
        f"--backend-store-uri={database_uri}",
        f"--artifacts-destination=s3://{bucket(values)}/mlflow",
        f"--allowed-hosts={','.join(hosts)}",
        f"--cors-allowed-origins={','.join(PAGES)}",
        "--x-frame-options=DENY",
    ]


def run_name(values: ClusterValues) -> str:
    """The name of the run: as given, or that of the cluster and the recipe."""
    words = shlex.split(values.command)
    if words[0] in ("resume", "extend"):
        return words[1]
    return values.run_name or f"{values.name}-{words[1].rpartition('/')[2].removesuffix('.yaml')}"


def paceline_words(values: ClusterValues, address: str | None = None) -> list[str]:
    """The command line of the job, with its name and its places unless it says them itself."""
    words = shlex.split(values.command)
    flags = {
        "--name": run_name(values) if words[0] in ("fit", "sweep") else "",
        "--address": address or "",
        "--storage": values.storage,
        "--tracking-uri": values.tracking_uri if words[0] in ("fit", "sweep") else "",
    }
    given = {word.partition("=")[0].replace("_", "-") for word in words}
    more = [
        w for flag, value in flags.items() if value and flag not in given for w in (flag, value)
    ]
    return ["paceline", *words, *more]


def bucket(values: ClusterValues) -> str:
    """The bucket that storage and artifacts share; the cluster's name where storage is none."""
    if values.storage.startswith("s3://"):
        return urlsplit(values.storage).netloc
    return values.name


def shared_memory_gib(memory_gib: int) -> int:
    """GiB of /dev/shm for Ray's object store, which takes three tenths of a node's memory."""
    return max(1, math.ceil(0.3 * memory_gib))


def need(values: ClusterValues, target: str, *names: str) -> None:
    """Refuse to render without values that have no sensible default.

    Raises:
        UserError: One of them is empty.
    """
    for name in names:
        if not getattr(values, name):
            what = f"`{name}` must be given for {target}, but is missing."
            raise UserError(what, "", f"--set {name}=VALUE")


def need_bucket(values: ClusterValues, target: str) -> None:
    """Refuse a folder as storage where containers share none.

    Raises:
        UserError: It is one.
    """
    if not values.storage.startswith("s3://"):
        what = must("storage", f"s3://bucket/folder for {target}", values.storage)
        raise UserError(what, "its containers share no folder", "--set storage=s3://bucket/runs")

"""What is known of the cluster that `up` starts: its identity, ports, folders and secrets.

$PACELINE_HOME/cluster/           mode 0700, all of it gone after `down`
    local.json                    what only `up`, `status` and `down` read
    profile.json, cluster.env     how the cluster is used
    ray-token, mlflow-password, database-password, form-key, aws-credentials
    mlflow.db, accounts.db, artifacts/, storage/, postgresql/   the record, whichever there are
    *.log

Sockets have names of at most 107 bytes, so they lie in a short folder under the system's temporary
one; so does Ray's session.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...platform.errors import UserError
from ...platform.home import home
from ...platform.ports import HOST
from ..cluster_profile import Profile, cluster_folder, write_private

FILE, ENVIRONMENT_FILE = "local.json", "cluster.env"
BUCKET, REGION, ACCOUNT = "paceline", "us-east-1", "admin"
SECRETS = ("ray-token", "mlflow-password", "database-password", "form-key")
CREDENTIALS = "aws-credentials"
POSTGRESQL, S3, MLFLOW, HEAD, WORKER = "postgresql", "s3", "mlflow", "head", "worker"


@dataclass(frozen=True)
class LocalCluster:
    """A cluster of this machine.

    Args:
        id: Random; every process of the cluster carries it in its environment.
        nodes: Worker nodes beside the head.
        cpus: CPU cores that Ray counts on each of them.
        ports: Of `gcs`, `dashboard`, `mlflow` and `s3`, on 127.0.0.1.
        runtime: Folder of sockets and of Ray's session.
        database: PostgreSQL's folder; empty: the record is a SQLite file.
        has_object_store: Whether there is an S3 double; without one, the storage is a folder.
    """

    id: str
    nodes: int
    cpus: int
    ports: dict[str, int]
    runtime: str
    database: str = ""
    has_object_store: bool = True

    @property
    def folder(self) -> Path:
        """Where all that lasts lies."""
        return cluster_folder()

    @property
    def parts(self) -> list[str]:
        """Names of its parts, in the order in which they start."""
        services = [POSTGRESQL] * bool(self.database) + [S3] * self.has_object_store + [MLFLOW]
        return [*services, HEAD, *(f"{WORKER}-{n}" for n in range(1, self.nodes + 1))]

    def url(self, service: str) -> str:
        """`http://127.0.0.1:PORT` of a service."""
        return f"http://{HOST}:{self.ports[service]}"

    def secret(self, name: str) -> str:
        """One of its secrets."""
        return (self.folder / name).read_text().strip()

    def profile(self) -> Profile:
        """How it is used."""
        query = f"endpoint_override={self.url('s3')}&region={REGION}"
        storage = f"s3://{BUCKET}/runs?{query}" if self.has_object_store else None
        return Profile(
            name="local",
            address=f"{HOST}:{self.ports['gcs']}",
            jobs_address=self.url("dashboard"),
            token_path=str(self.folder / "ray-token"),
            tracking_uri=self.url("mlflow"),
            tracking_username=ACCOUNT,
            tracking_password_path=str(self.folder / "mlflow-password"),
            storage=storage or str(self.folder / "storage"),
            storage_credentials_path=str(self.folder / CREDENTIALS) if storage else "",
        )


def read_cluster() -> LocalCluster | None:
    """The cluster that was started from this home; None where there is none.

    Raises:
        UserError: The file is damaged.
    """
    path = cluster_folder() / FILE
    try:
        return LocalCluster(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        what = f"`{FILE}` must be what `paceline cluster up` wrote, but is damaged."
        remedy = "its processes have PACELINE_CLUSTER_ID in their environment: end them, delete it"
        raise UserError(what, f"{path}: {type(error).__name__}", remedy) from None


def write_cluster(cluster: LocalCluster) -> None:
    """Keep what `down` has to know, before anything is started."""
    text = json.dumps(dataclasses.asdict(cluster), indent=1)
    write_private(cluster.folder / FILE, text + "\n")


def write_secrets(cluster: LocalCluster) -> None:
    """Make all secrets anew, each in a file that its owner alone can read."""
    for name in SECRETS:
        write_private(cluster.folder / name, secrets.token_hex(32) + "\n")
    keys = f"aws_access_key_id = {secrets.token_hex(10).upper()}\n"
    keys += f"aws_secret_access_key = {secrets.token_hex(20)}\n"
    write_private(cluster.folder / CREDENTIALS, f"[default]\n{keys}")


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Let one command at a time change the cluster of this home.

    The lock is on the home's folder itself, so that no file of it stays behind.

    Raises:
        UserError: Another command holds it.
    """
    handle = os.open(home(), os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "The cluster must not be started or ended twice at a time, but is just now."
            remedy = "wait for the other `paceline cluster`"
            raise UserError(what, str(home()), remedy) from None
        yield
    finally:
        os.close(handle)

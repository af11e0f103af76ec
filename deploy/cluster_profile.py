"""The cluster that this home knows: where its services are, and where what is secret lies.

`paceline cluster up` writes it to `$PACELINE_HOME/cluster/profile.json`; every verb that needs a
cluster takes its own flags first, then the environment, then this. Passwords and tokens are no part
of it: it names the files that hold them, each readable by its owner alone.
"""

from __future__ import annotations

import configparser
import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..platform.errors import UserError
from ..platform.home import home
from ..platform.storage.location import is_object_store, parse

FOLDER, FILE = "cluster", "profile.json"


@dataclass(frozen=True)
class Profile:
    """A cluster and its services.

    Args:
        name: Of the cluster.
        address: `host:port` of Ray's head (GCS).
        jobs_address: `http://host:port` of Ray's dashboard, where jobs are submitted.
        token_path: File with the token that Ray asks for.
        tracking_uri: MLflow's address, without password.
        tracking_username: The account at MLflow.
        tracking_password_path: File with its password.
        storage: What `--storage` takes: `s3://bucket/prefix?endpoint_override=...`, or a folder.
        storage_credentials_path: File of credentials as AWS's tools read it, its profile `default`;
            empty where the storage is a folder.
    """

    name: str
    address: str
    jobs_address: str
    token_path: str
    tracking_uri: str
    tracking_username: str
    tracking_password_path: str
    storage: str
    storage_credentials_path: str = ""


def cluster_folder() -> Path:
    """Where this home keeps what it knows of its cluster; it need not exist."""
    return home() / FOLDER


def read_profile() -> Profile | None:
    """The cluster that this home knows; None where there is none.

    Raises:
        UserError: The file cannot be read or is no profile.
    """
    path = cluster_folder() / FILE
    try:
        return Profile(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            "`profile.json` must be what `paceline cluster up` wrote, but is damaged.",
            f"{path}: {type(error).__name__}",
            "paceline cluster down, then paceline cluster up",
        ) from None


def write_profile(profile: Profile, folder: Path) -> None:
    """Write it into a folder that exists, readable by its owner alone."""
    write_private(folder / FILE, json.dumps(dataclasses.asdict(profile), indent=1) + "\n")


def environment(profile: Profile) -> dict[str, str]:
    """What a process needs in its environment to use the cluster, secrets included.

    Raises:
        UserError: One of the files that hold them cannot be read.
    """
    return {
        "RAY_ADDRESS": profile.address,
        "RAY_API_SERVER_ADDRESS": profile.jobs_address,
        **node_environment(profile),
    }


def node_environment(profile: Profile) -> dict[str, str]:
    """What a node of the cluster has in its environment, and so all that it starts.

    Where the cluster is, a job is told by Ray. A Ray that is at the loopback asks to be looked for
    there: by a switch whose name tells of other systems, as it is off on those by itself.
    """
    is_here = host_and_port(profile.address)[0] in ("127.0.0.1", "localhost")
    return {
        **({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} if is_here else {}),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": profile.token_path,
        "MLFLOW_TRACKING_URI": profile.tracking_uri,
        "MLFLOW_TRACKING_USERNAME": profile.tracking_username,
        "MLFLOW_TRACKING_PASSWORD": _secret(profile.tracking_password_path),
        **_storage_environment(profile),
    }


def _storage_environment(profile: Profile) -> dict[str, str]:
    if not is_object_store(profile.storage):
        return {}
    place = parse(profile.storage)
    keys = configparser.ConfigParser(interpolation=None)
    keys.read_string(_secret(profile.storage_credentials_path))
    default = keys["default"]
    return {
        "AWS_ACCESS_KEY_ID": default["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": default["aws_secret_access_key"],
        **({"AWS_ENDPOINT_URL": place.endpoint} if place.endpoint else {}),
        **({"AWS_DEFAULT_REGION": place.region} if place.region else {}),
    }


def _secret(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        what = f"The cluster's secret {Path(path).name} must be readable, but is not."
        remedy = "paceline cluster status tells whether the cluster is up"
        raise UserError(what, f"{path}: {error.strerror}", remedy) from None


def host_and_port(address: str) -> tuple[str, int]:
    """Take `host:port` or `http://host:port` apart."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    return parts.hostname or "", parts.port or 0


def write_private(path: Path, text: str) -> None:
    """Write a file whole, which nobody else could read at any moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise

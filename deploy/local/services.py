"""MLflow's server and the object store's double, as processes on the loopback."""

from __future__ import annotations

import importlib.util
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

from ...platform.ports import HOST, answers
from ..cluster_profile import node_environment, write_private
from ..manifests.parts import AUTH_TEXT, FLASK_KEY, MLFLOW_SAFETY
from . import postgresql
from .cluster import ACCOUNT, BUCKET, MLFLOW, S3, LocalCluster
from .processes import failed, start, wait_until


def has_s3_double() -> bool:
    """Whether the double and the client that MLflow needs for it are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("moto", "werkzeug", "boto3"))


def start_s3(cluster: LocalCluster) -> None:
    """Serve an empty object store with one bucket.

    Raises:
        RunError: It does not start.
    """
    log = cluster.folder / "s3.log"
    port = cluster.ports["s3"]
    command = [sys.executable, "-m", "paceline.deploy.local.s3_server", str(port)]
    keys = node_environment(cluster.profile())
    process = start(
        cluster, S3, command, {k: v for k, v in keys.items() if k.startswith("AWS_")}, log
    )
    wait_until(lambda: answers(port), "The object store", process, log, 60)
    _make_bucket(keys, cluster.url("s3"), log)


def _make_bucket(keys: dict[str, str], endpoint: str, log: Path) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=keys["AWS_DEFAULT_REGION"],
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    try:
        client.create_bucket(Bucket=BUCKET)
    except (BotoCoreError, ClientError) as error:
        raise failed(f"The object store makes no bucket: {error}.", log) from None
    finally:
        client.close()


def start_mlflow(cluster: LocalCluster) -> None:
    """Serve MLflow with accounts, for this host alone.

    Raises:
        RunError: It does not start, or lets in who has no password.
    """
    folder, log = cluster.folder, cluster.folder / "mlflow.log"
    store, accounts = (f"sqlite:///{folder / name}" for name in ("mlflow.db", "accounts.db"))
    database = {}
    if cluster.database:
        store = accounts = postgresql.uri(cluster)
        database = postgresql.environment(cluster)
    config = folder / "mlflow-auth.ini"
    write_private(config, AUTH_TEXT.format(database_uri=accounts.replace("%", "%%")))
    nodes = node_environment(cluster.profile())
    keys = {name: value for name, value in nodes.items() if name.startswith("AWS_")}
    environment = {
        **keys,
        **({"MLFLOW_S3_ENDPOINT_URL": keys["AWS_ENDPOINT_URL"]} if keys else {}),
        **database,
        **MLFLOW_SAFETY,
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_AUTH_ADMIN_USERNAME": ACCOUNT,
        "MLFLOW_AUTH_ADMIN_PASSWORD": cluster.secret("mlflow-password"),
        FLASK_KEY: cluster.secret("form-key"),
    }
    process = start(cluster, MLFLOW, _mlflow_command(cluster, store), environment, log, cwd=folder)
    wait_until(lambda: status(cluster) == 200, "MLflow", process, log, 180)
    if (refused := status(cluster, password="")) != 401:
        raise failed(f"MLflow must refuse a wrong password, but answers {refused}.", log)


def _mlflow_command(cluster: LocalCluster, store: str) -> list[str]:
    port = cluster.ports["mlflow"]
    names = [f"{name}:{port}" for name in (HOST, "localhost")]
    artifacts = f"s3://{BUCKET}/mlflow"
    if not cluster.has_object_store:
        artifacts = str(cluster.folder / "artifacts")
    return [
        *(sys.executable, "-m", "mlflow", "server", "--app-name=basic-auth", "--workers=1"),
        *(f"--host={HOST}", f"--port={port}", f"--backend-store-uri={store}"),
        f"--artifacts-destination={artifacts}",
        f"--allowed-hosts={','.join(names)}",
        f"--cors-allowed-origins={','.join(f'http://{name}' for name in names)}",
        "--x-frame-options=DENY",
    ]


def status(cluster: LocalCluster, password: str | None = None) -> int:
    """What MLflow answers to a question that needs an account; 0: it does not answer.

    Args:
        cluster: The cluster.
        password: Another one than the account's.
    """
    if password is None:
        password = cluster.secret("mlflow-password")
    signed = b64encode(f"{ACCOUNT}:{password}".encode()).decode()
    url = f"{cluster.url('mlflow')}/api/2.0/mlflow/experiments/get?experiment_id=0"
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {signed}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0

"""One machine, all services: MLflow on PostgreSQL, an S3 store, Ray's head and workers.

Only MLflow's page and Ray's dashboard are published, on this machine's loopback. The database and
the object store stand in networks without a way out. A container has a read-only root, no
capabilities, an account that is not root, and limits of processors, memory and processes.
"""

from __future__ import annotations

import shlex
from typing import Any

from ..values import ClusterValues
from . import parts
from .environment import COMPOSE, environment_file
from .image import image_files
from .yaml_text import yaml_text

DEFAULTS = {"tracking_uri": f"http://mlflow:{parts.MLFLOW_PORT}"}
_DATABASE_URI = f"postgresql+psycopg://postgres:{parts.POSTGRES_PORT}/mlflow"
_MAKE_BUCKET = """\
import boto3, sys
store = boto3.client("s3")
held = [bucket["Name"] for bucket in store.list_buckets()["Buckets"]]
if sys.argv[1] not in held: store.create_bucket(Bucket=sys.argv[1])
"""


def compose_files(values: ClusterValues) -> dict[str, str]:
    """`docker compose` and what it builds and reads."""
    parts.need_bucket(values, "compose")
    shape = f"{values.workers} workers with {values.cpus} CPU cores"
    shape += f" and {values.gpus} GPUs each" if values.gpus else " each"
    work = shlex.join(parts.paceline_words(values, f"ray-head:{parts.GCS_PORT}"))
    head = f"""\
MLflow, PostgreSQL, an S3 store and Ray on one machine, {shape}.
  docker compose --env-file {parts.ENVIRONMENT_FILE} up --build --detach --wait
  docker compose --env-file {parts.ENVIRONMENT_FILE} exec ray-head {work}
  http://127.0.0.1:{parts.MLFLOW_PORT} MLflow, http://127.0.0.1:{parts.DASHBOARD_PORT} Ray
  docker compose --env-file {parts.ENVIRONMENT_FILE} down
The Dockerfile says how the wheel gets beside it."""
    return {
        "compose.yaml": yaml_text(head, compose(values)),
        parts.AUTH_CONFIG: parts.AUTH_TEXT.format(database_uri=_DATABASE_URI),
        **environment_file(COMPOSE),
        **image_files(values),
    }


def compose(values: ClusterValues) -> dict[str, Any]:
    """The compose file as data."""
    return {
        "name": values.name,
        "services": {
            "postgres": _postgres(values),
            "s3-folder": _s3_folder(values),
            "s3": _s3(values),
            "bucket": _bucket(values),
            "mlflow": _mlflow(values),
            "ray-head": _ray_head(values),
            "ray-worker": _ray_worker(values),
        },
        "networks": {
            "database": {"internal": True},
            "storage": {"internal": True},
            "cluster": {"driver": "bridge"},
        },
        "volumes": {"postgres": {}, "s3": {}},
        "configs": {"mlflow-auth": {"file": f"./{parts.AUTH_CONFIG}"}},
    }


def _service(image: str, user: str, cpus: int, memory_gib: int, **more: Any) -> dict[str, Any]:
    """A container that may do what it must and nothing else."""
    limits = {"cpus": str(cpus), "memory": f"{memory_gib}G", "pids": 16_384}
    return {
        "image": image,
        "user": user,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "restart": "unless-stopped",
        **more,
        "deploy": {"resources": {"limits": limits}},
    }


def _ours(values: ClusterValues, cpus: int, memory_gib: int, **more: Any) -> dict[str, Any]:
    """A container of our image, which may write to /tmp and to a volume of its own."""
    more = {"tmpfs": ["/tmp:mode=1777"], "volumes": [parts.WORK], **more}
    return _service(values.image, f"{parts.USER_ID}:0", cpus, memory_gib, build=".", **more)


def _secret(*names: str) -> dict[str, str]:
    """Variables that come from the environment file; compose refuses to start without."""
    return {name: f"${{{name}:?fill in {parts.ENVIRONMENT_FILE}}}" for name in names}


def _store_environment(values: ClusterValues) -> dict[str, str]:
    endpoint = values.s3_endpoint or f"http://s3:{parts.S3_PORT}"
    region = {"AWS_REGION": values.region, "AWS_DEFAULT_REGION": values.region}
    return {**_secret(*parts.S3_KEYS), "AWS_ENDPOINT_URL": endpoint, **region}


def _health(*test: str) -> dict[str, Any]:
    return {
        "test": ["CMD", *test],
        "interval": "10s",
        "timeout": "10s",
        "retries": 12,
        "start_period": "60s",
    }


def _after(**conditions: str) -> dict[str, Any]:
    return {name.replace("_", "-"): {"condition": value} for name, value in conditions.items()}


def _postgres(values: ClusterValues) -> dict[str, Any]:
    account = 999  # of the image, which makes the data's folder as it
    return _service(
        values.postgres_image,
        f"{account}:{account}",
        1,
        2,
        environment={
            "POSTGRES_USER": "mlflow",
            "POSTGRES_DB": "mlflow",
            "POSTGRES_INITDB_ARGS": "--auth=scram-sha-256",
            **_secret("POSTGRES_PASSWORD"),
        },
        healthcheck=_health("pg_isready", "--username=mlflow", "--dbname=mlflow"),
        networks=["database"],
        volumes=["postgres:/var/lib/postgresql/data"],
        tmpfs=["/tmp", f"/run/postgresql:uid={account},gid={account},mode=0775"],
        shm_size="256M",
    )


def _s3(values: ClusterValues) -> dict[str, Any]:
    keys = zip(("ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"), parts.S3_KEYS, strict=True)
    return _service(
        values.s3_image,
        f"{parts.USER_ID}:0",
        1,
        2,
        command=["posix", "/data"],
        environment={
            **{theirs: _secret(ours)[ours] for theirs, ours in keys},
            "VGW_PORT": f":{parts.S3_PORT}",
            "VGW_REGION": values.region,
            "VGW_HEALTH": "/health",
        },
        healthcheck=_health("wget", "-q", "-O", "-", f"http://127.0.0.1:{parts.S3_PORT}/health"),
        depends_on=_after(s3_folder="service_completed_successfully"),
        networks=["storage"],
        volumes=["s3:/data"],
    )


def _s3_folder(values: ClusterValues) -> dict[str, Any]:
    """Gives the store's volume the owner that our image's folder has, as the first to mount it."""
    volumes = [f"s3:{parts.WORK}"]
    return {
        **_ours(values, 1, 1, command=["true"], volumes=volumes, network_mode="none"),
        "restart": "no",
    }


def _bucket(values: ClusterValues) -> dict[str, Any]:
    return {
        **_ours(
            values,
            1,
            1,
            command=["python", "-c", _MAKE_BUCKET, parts.bucket(values)],
            environment=_store_environment(values),
            depends_on=_after(s3="service_healthy"),
            networks=["storage"],
        ),
        "restart": "on-failure",
    }


def _mlflow(values: ClusterValues) -> dict[str, Any]:
    names = ["mlflow", "localhost", "127.0.0.1"]
    hosts = [f"{name}:{parts.MLFLOW_PORT}" for name in names]
    user, password = (_secret(name)[name] for name in parts.MLFLOW_ACCOUNT)
    store = _store_environment(values)
    return _ours(
        values,
        2,
        4,
        command=parts.mlflow_command(values, _DATABASE_URI, hosts),
        environment={
            "PGUSER": "mlflow",
            "PGPASSWORD": _secret("POSTGRES_PASSWORD")["POSTGRES_PASSWORD"],
            "MLFLOW_AUTH_CONFIG_PATH": f"/etc/{parts.AUTH_CONFIG}",
            "MLFLOW_AUTH_ADMIN_USERNAME": user,
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            **_secret(parts.FLASK_KEY),
            **store,
            "MLFLOW_S3_ENDPOINT_URL": store["AWS_ENDPOINT_URL"],
            **parts.MLFLOW_SAFETY,
        },
        configs=[{"source": "mlflow-auth", "target": f"/etc/{parts.AUTH_CONFIG}"}],
        healthcheck=_health(
            "wget", "-q", "-O", "-", f"http://127.0.0.1:{parts.MLFLOW_PORT}/health"
        ),
        depends_on=_after(postgres="service_healthy", bucket="service_completed_successfully"),
        networks=["database", "storage", "cluster"],
        ports=[f"127.0.0.1:{parts.MLFLOW_PORT}:{parts.MLFLOW_PORT}"],
    )


def _ray(values: ClusterValues, cpus: int, memory_gib: int, **more: Any) -> dict[str, Any]:
    """A node of Ray, which presents the token and asks others for it."""
    return _ours(
        values,
        cpus,
        memory_gib,
        environment={
            "RAY_AUTH_MODE": "token",
            **_secret(parts.TOKEN, *parts.MLFLOW_ACCOUNT),
            **_store_environment(values),
            "MLFLOW_TRACKING_URI": values.tracking_uri,
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        },
        healthcheck=_health("ray", "health-check", f"--address=ray-head:{parts.GCS_PORT}"),
        networks=["storage", "cluster"],
        shm_size=f"{parts.shared_memory_gib(memory_gib)}G",
        stop_grace_period="60s",
        **more,
    )


def _ray_head(values: ClusterValues) -> dict[str, Any]:
    start = ("ray", "start", "--head", "--block", f"--port={parts.GCS_PORT}", "--num-cpus=0")
    board = ("--dashboard-host=0.0.0.0", f"--dashboard-port={parts.DASHBOARD_PORT}")
    return _ray(
        values,
        values.head_cpus,
        values.head_memory_gib,
        hostname="ray-head",
        command=[*start, *board],
        depends_on=_after(mlflow="service_healthy"),
        ports=[f"127.0.0.1:{parts.DASHBOARD_PORT}:{parts.DASHBOARD_PORT}"],
    )


def _ray_worker(values: ClusterValues) -> dict[str, Any]:
    address = f"--address=ray-head:{parts.GCS_PORT}"
    cores = f"--num-cpus={values.cpus}"
    service = _ray(
        values,
        values.cpus,
        values.memory_gib,
        command=["ray", "start", "--block", address, cores, f"--num-gpus={values.gpus}"],
        depends_on=_after(ray_head="service_healthy"),
    )
    service["deploy"]["replicas"] = values.workers
    if values.gpus:
        gpu = {"driver": "nvidia", "count": values.gpus, "capabilities": ["gpu"]}
        service["deploy"]["resources"]["reservations"] = {"devices": [gpu]}
    return service

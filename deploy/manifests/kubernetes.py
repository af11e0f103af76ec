"""Pods as we want all of them, and MLflow's server on Kubernetes.

A pod has no account of the cluster's API, is no root, has a read-only root and limits; it keeps to
the "restricted" of Kubernetes' pod security standards. Secrets come from one secret by reference.
"""

from __future__ import annotations

from typing import Any

from ..values import ClusterValues
from . import parts

_DATABASE_URI = "postgresql+psycopg://"  # server, database and account come from the secret
DATABASE = ("PGHOST", "PGDATABASE", "PGUSER", "PGPASSWORD")
PART_OF = "app.kubernetes.io/part-of"


def labels(values: ClusterValues, component: str) -> dict[str, str]:
    """What our objects are found by."""
    return {PART_OF: values.name, "app.kubernetes.io/component": component}


def metadata(values: ClusterValues, name: str, component: str) -> dict[str, Any]:
    """An object's name, namespace and labels."""
    return {"name": name, "namespace": values.namespace, "labels": labels(values, component)}


def secret_variables(values: ClusterValues, **keys: str) -> list[dict[str, Any]]:
    """Variables whose values are in the secret: name in the container = key in the secret."""
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": values.secret, "key": key}}}
        for name, key in keys.items()
    ]


def store_variables(values: ClusterValues) -> list[dict[str, Any]]:
    """How the object store is reached."""
    plain = {"AWS_REGION": values.region, "AWS_DEFAULT_REGION": values.region}
    if values.s3_endpoint:
        endpoint = values.s3_endpoint
        plain |= {"AWS_ENDPOINT_URL": endpoint, "MLFLOW_S3_ENDPOINT_URL": endpoint}
    return [*secret_variables(values, **{k: k for k in parts.S3_KEYS}), *variables(plain)]


def variables(plain: dict[str, str]) -> list[dict[str, Any]]:
    """Variables that are no secret."""
    return [{"name": name, "value": value} for name, value in plain.items()]


def container(
    values: ClusterValues, name: str, cpus: int, memory_gib: int, gpus: int = 0, **more: Any
) -> dict[str, Any]:
    """A container of our image that may do what it must and nothing else."""
    amounts = {"cpu": str(cpus), "memory": f"{memory_gib}Gi"}
    if gpus:
        amounts["nvidia.com/gpu"] = str(gpus)
    return {
        "name": name,
        "image": values.image,
        "imagePullPolicy": "IfNotPresent",
        **more,
        "resources": {"limits": amounts, "requests": dict(amounts)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def pod(
    values: ClusterValues, component: str, *containers: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """The template of a pod; each container may write to /tmp and to the image's work folder."""
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "work", "mountPath": parts.WORK}]
    volumes = [{"name": mount["name"], "emptyDir": {}} for mount in mounts]
    for one in containers:
        one["volumeMounts"] = [*mounts, *one.get("volumeMounts", [])]
    return {
        "metadata": {"labels": labels(values, component)},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": parts.USER_ID,
                "runAsGroup": parts.USER_ID,
                "fsGroup": parts.USER_ID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **{key: value for key, value in more.items() if key != "volumes"},
            "containers": list(containers),
            "volumes": [*volumes, *more.get("volumes", [])],
        },
    }


def mlflow_objects(values: ClusterValues) -> list[dict[str, Any]]:
    """The server, its address inside the cluster, and its settings without any secret."""
    named = metadata(values, "mlflow", "mlflow")
    settings = {parts.AUTH_CONFIG: parts.AUTH_TEXT.format(database_uri=_DATABASE_URI)}
    selector = labels(values, "mlflow")
    port = {"name": "http", "port": parts.MLFLOW_PORT, "targetPort": "http", "protocol": "TCP"}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named, "data": settings},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": named,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": selector},
                "template": _mlflow_pod(values),
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named,
            "spec": {"type": "ClusterIP", "selector": selector, "ports": [port]},
        },
    ]


def _mlflow_pod(values: ClusterValues) -> dict[str, Any]:
    inside = ["mlflow", f"mlflow.{values.namespace}", f"mlflow.{values.namespace}.svc"]
    hosts = [f"{host}:{parts.MLFLOW_PORT}" for host in (*inside, "localhost", "127.0.0.1")]
    user, password = parts.MLFLOW_ACCOUNT
    secret = {
        **{name: name for name in DATABASE},
        "MLFLOW_AUTH_ADMIN_USERNAME": user,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        parts.FLASK_KEY: parts.FLASK_KEY,
    }
    config = {"MLFLOW_AUTH_CONFIG_PATH": f"/etc/mlflow/{parts.AUTH_CONFIG}"}
    health = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 10}
    server = container(
        values,
        "mlflow",
        2,
        4,
        command=parts.mlflow_command(values, _DATABASE_URI, hosts),
        env=[
            *secret_variables(values, **secret),
            *store_variables(values),
            *variables({**config, **parts.MLFLOW_SAFETY}),
        ],
        ports=[{"name": "http", "containerPort": parts.MLFLOW_PORT, "protocol": "TCP"}],
        startupProbe={**health, "failureThreshold": 30},
        readinessProbe=health,
        livenessProbe={**health, "failureThreshold": 6},
        volumeMounts=[{"name": "config", "mountPath": "/etc/mlflow", "readOnly": True}],
    )
    config_volume = {"name": "config", "configMap": {"name": "mlflow"}}
    return pod(values, "mlflow", server, volumes=[config_volume])

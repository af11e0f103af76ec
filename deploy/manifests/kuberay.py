"""Ray on Kubernetes through the KubeRay operator (1.6 or newer, which takes our secret's token).

`raycluster.yaml` is a cluster that stays; `rayjob.yaml` brings its own, runs one command and takes
it down. A policy lets only pods of ours, and the operator, talk to Ray's and MLflow's ports.
"""

from __future__ import annotations

import shlex
from typing import Any

from .. import versions
from ..values import ClusterValues
from . import parts
from .environment import KUBERNETES, environment_file
from .image import image_files
from .kubernetes import (
    PART_OF,
    container,
    metadata,
    mlflow_objects,
    pod,
    secret_variables,
    store_variables,
    variables,
)
from .yaml_text import yaml_text

_API = "ray.io/v1"
_KEEP_S = 3600  # how long a job's cluster stays, for its logs to be read


def defaults(namespace: str) -> dict[str, str]:
    """Where the manifests' own MLflow answers, and runs are kept."""
    address = f"http://mlflow.{namespace}.svc:{parts.MLFLOW_PORT}"
    return {"tracking_uri": address, "storage": "s3://paceline/runs"}


def kuberay_files(values: ClusterValues) -> dict[str, str]:
    """All objects, a file for what is applied by itself."""
    parts.need_bucket(values, "kuberay")
    n, file = values.namespace, parts.ENVIRONMENT_FILE
    first = f"""\
Before the others, once:
  kubectl create namespace {n}
  kubectl --namespace {n} create secret generic {values.secret} --from-env-file={file}
"""
    forward = f"kubectl --namespace {n} port-forward service"
    return {
        "mlflow.yaml": yaml_text(
            f"{first}  kubectl apply --filename mlflow.yaml --filename network-policy.yaml\n"
            f"  {forward}/mlflow {parts.MLFLOW_PORT}",
            *mlflow_objects(values),
        ),
        "network-policy.yaml": yaml_text("Who may talk to whom.", network_policy(values)),
        "raycluster.yaml": yaml_text(
            f"A cluster that stays: kubectl apply --filename raycluster.yaml\n"
            f"  {forward}/{values.name}-head-svc {parts.DASHBOARD_PORT}",
            ray_cluster(values),
        ),
        "rayjob.yaml": yaml_text(
            "One run on a cluster of its own: kubectl create --filename rayjob.yaml",
            ray_job(values),
        ),
        **environment_file(KUBERNETES),
        **image_files(values),
    }


def ray_cluster(values: ClusterValues) -> dict[str, Any]:
    """A cluster that stays."""
    return {
        "apiVersion": _API,
        "kind": "RayCluster",
        "metadata": metadata(values, values.name, "ray"),
        "spec": _cluster_spec(values),
    }


def ray_job(values: ClusterValues) -> dict[str, Any]:
    """One command on a cluster of its own."""
    submitter = container(values, "ray-job-submitter", 1, 1)
    return {
        "apiVersion": _API,
        "kind": "RayJob",
        "metadata": metadata(values, f"{values.name}-job", "ray"),
        "spec": {
            "entrypoint": shlex.join(parts.paceline_words(values, "auto")),
            "submissionMode": "K8sJobMode",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": _KEEP_S,
            "backoffLimit": 0,
            "submitterPodTemplate": pod(values, "submitter", submitter, restartPolicy="Never"),
            "rayClusterSpec": _cluster_spec(values),
        },
    }


def _cluster_spec(values: ClusterValues) -> dict[str, Any]:
    """Head and workers; the operator gives all of them the token and the mode that asks for it."""
    return {
        "rayVersion": versions.pinned("ray"),
        "authOptions": {"mode": "token", "secretName": values.secret},
        "enableInTreeAutoscaling": False,
        "headGroupSpec": {
            "serviceType": "ClusterIP",
            # No trial on the head, which has the driver.
            "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},
            "template": _head(values),
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": values.workers,
                "minReplicas": values.workers,
                "maxReplicas": values.workers,
                "rayStartParams": {},
                "template": _worker(values),
            }
        ],
    }


def _environment(values: ClusterValues) -> list[dict[str, Any]]:
    settings = {
        "MLFLOW_TRACKING_URI": values.tracking_uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "RAY_TMPDIR": "/tmp",  # where the operator looks for Ray's logs
    }
    account = secret_variables(values, **{name: name for name in parts.MLFLOW_ACCOUNT})
    return [*account, *store_variables(values), *variables(settings)]


def _head(values: ClusterValues) -> dict[str, Any]:
    ports = {"gcs-server": parts.GCS_PORT, "dashboard": parts.DASHBOARD_PORT}
    head = container(
        values,
        "ray-head",
        values.head_cpus,
        values.head_memory_gib,
        env=_environment(values),
        ports=[{"name": n, "containerPort": p, "protocol": "TCP"} for n, p in ports.items()],
    )
    return pod(values, "head", head)


def _worker(values: ClusterValues) -> dict[str, Any]:
    worker = container(
        values,
        "ray-worker",
        values.cpus,
        values.memory_gib,
        values.gpus,
        env=_environment(values),
    )
    return pod(values, "worker", worker, terminationGracePeriodSeconds=60)


def network_policy(values: ClusterValues) -> dict[str, Any]:
    """Pods of ours take connections of pods of ours; the operator reaches Ray's dashboard."""
    ours = {"matchLabels": {PART_OF: values.name}}
    operator = {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(values, values.name, "network"),
        "spec": {
            "podSelector": ours,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": ours}]},
                {
                    "from": [{"namespaceSelector": {}, "podSelector": operator}],
                    "ports": [{"port": parts.DASHBOARD_PORT, "protocol": "TCP"}],
                },
            ],
        },
    }

"""Objects of Kubernetes: their schemas, KubeRay's rules, and pods that may do little.

Core kinds and the pods inside KubeRay's kinds are held to Kubernetes' own schema, strictly: a
misspelt key is refused, where the server would drop it in silence. KubeRay's kinds are held to a
schema of ours that has the fields which we use and what the operator demands of them.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from .findings import MLFLOW_SAFE, NODE, command_problems, missing, schema_errors
from .kuberay_schema import RAY_CLUSTER, RAY_JOB
from .pod_check import COMPONENT, PART_OF, core_problems, pod_problems

KINDS = ("RayCluster", "RayJob", "Deployment", "Service", "ConfigMap", "NetworkPolicy")
_OF_MLFLOW = {"PGHOST", "PGDATABASE", "PGUSER", "PGPASSWORD"} | MLFLOW_SAFE


def object_problems(document: Any) -> list[str]:
    """What is wrong with one object, or an empty list."""
    if not isinstance(document, dict):
        return ["must be an object with apiVersion and kind"]
    kind = document.get("kind")
    if kind not in KINDS:
        return [f"kind: must be one of {', '.join(KINDS)}, but is {kind!r}"]
    if kind in ("RayCluster", "RayJob"):
        found = schema_errors(RAY_CLUSTER if kind == "RayCluster" else RAY_JOB, document)
    else:
        found = core_problems(document)
    found = found or _metadata_problems(document)
    return found or _BY_KIND[kind](document)


def _metadata_problems(document: dict[str, Any]) -> list[str]:
    metadata = document.get("metadata") or {}
    found = missing({"name", "namespace", "labels"}, metadata, "metadata")
    for key in ("name", "namespace"):
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", str(metadata.get(key, "x"))):
            found.append(f"metadata.{key}: must be a DNS label")
    return found + missing({PART_OF, COMPONENT}, metadata.get("labels"), "metadata.labels")


def _cluster_problems(spec: dict[str, Any]) -> list[str]:
    """What the operator refuses, and what must hold of ours."""
    if tuple(map(int, spec["rayVersion"].split(".")[:2])) < (2, 52):
        return ["rayVersion: must be 2.52 or newer, as older ones have no token"]
    head = spec["headGroupSpec"]
    found = pod_problems(head["template"], "headGroupSpec", NODE)
    groups = spec["workerGroupSpecs"]
    for group in groups:
        found += pod_problems(group["template"], group["groupName"], NODE)
        if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            found.append(f"{group['groupName']}: replicas must lie between their bounds")
    if found:
        return found
    container = head["template"]["spec"]["containers"][0]
    for group in groups:
        if group["template"]["spec"]["containers"][0]["env"] != container["env"]:
            found.append(f"{group['groupName']}: must have the head's variables")
    ports = {port.get("name"): port.get("containerPort") for port in container.get("ports") or []}
    if ports != {"gcs-server": 6379, "dashboard": 8265}:
        found.append("headGroupSpec: ports must be gcs-server 6379 and dashboard 8265")
    parts = [head["template"], *(group["template"] for group in groups)]
    components = [part["metadata"]["labels"][COMPONENT] for part in parts]
    if components != ["head", *["worker"] * len(groups)]:
        found.append("labels: must say head and worker")
    return found


def _ray_cluster(document: dict[str, Any]) -> list[str]:
    return _cluster_problems(document["spec"]) + _same_name(document, document["spec"])


def _same_name(document: dict[str, Any], spec: dict[str, Any]) -> list[str]:
    """The policy finds pods by their label, so that all must carry the same."""
    name = document["metadata"]["labels"][PART_OF]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    labels = [group["template"].get("metadata", {}).get("labels", {}) for group in groups]
    if all(one.get(PART_OF) == name for one in labels):
        return []
    return [f"labels: every pod must be part of {name}"]


def _ray_job(document: dict[str, Any]) -> list[str]:
    spec = document["spec"]
    found = _cluster_problems(spec["rayClusterSpec"])
    found += _same_name(document, spec["rayClusterSpec"])
    found += pod_problems(spec["submitterPodTemplate"], "submitterPodTemplate", set())
    pod = spec["submitterPodTemplate"].get("spec") or {}
    if pod.get("restartPolicy") != "Never":
        found.append("submitterPodTemplate: must not restart")
    labels = (spec["submitterPodTemplate"].get("metadata") or {}).get("labels") or {}
    name = document["metadata"]["labels"][PART_OF]
    if labels.get(PART_OF) != name or labels.get(COMPONENT) != "submitter":
        found.append("submitterPodTemplate.labels: the policy must let it in")
    return found or _entrypoint_problems(spec)


def _entrypoint_problems(spec: dict[str, Any]) -> list[str]:
    """The command, and whether it records where the nodes do."""
    try:
        words = shlex.split(spec["entrypoint"])
    except ValueError as error:
        return [f"entrypoint: {error}"]
    found = command_problems(words, "entrypoint")
    env = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]
    uri = next(one["value"] for one in env if one["name"] == "MLFLOW_TRACKING_URI")
    if "--tracking-uri" in words and uri not in words:
        found.append(f"entrypoint: --tracking-uri must be the nodes' {uri}")
    return found


def _deployment(document: dict[str, Any]) -> list[str]:
    spec = document["spec"]
    template = spec["template"]
    found = pod_problems(template, "mlflow", _OF_MLFLOW)
    if found:
        return found
    labels = template["metadata"]["labels"]
    if (spec["selector"].get("matchLabels") or {}) != labels:
        found.append("selector: must match the pod's labels")
    if spec.get("replicas") != 1:
        found.append("replicas: must be 1, as servers would migrate the database together")
    server = template["spec"]["containers"][0]
    found += command_problems(server.get("command"), "mlflow.command")
    ports = [(one.get("name"), one.get("containerPort")) for one in server.get("ports") or []]
    port = next((w for w in server.get("command") or [] if w.startswith("--port=")), "--port=0")
    if ports != [("http", int(port.partition("=")[2] or 0))]:
        found.append("mlflow.ports: must be the server's")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = (server.get(probe) or {}).get("httpGet") or {}
        if (asked.get("path"), asked.get("port")) != ("/health", "http"):
            found.append(f"mlflow.{probe}: must ask http for /health")
    return found + _settings_problems(template["spec"], server)


def _settings_problems(spec: dict[str, Any], server: dict[str, Any]) -> list[str]:
    """The server reads its settings where their volume is mounted."""
    variables = {one["name"]: one.get("value") for one in server["env"]}
    mounts = {one["name"]: one for one in server["volumeMounts"]}
    for volume in spec["volumes"]:
        mount = mounts.get(volume["name"]) or {}
        path = f"{mount.get('mountPath')}/mlflow-auth.ini"
        if volume.get("configMap", {}).get("name") == "mlflow" and mount.get("readOnly") is True:
            return (
                [] if variables["MLFLOW_AUTH_CONFIG_PATH"] == path else ["mlflow: wrong settings"]
            )
    return ["mlflow.volumes: must have the settings of the ConfigMap mlflow, read-only"]


def _service(document: dict[str, Any]) -> list[str]:
    spec = document.get("spec") or {}
    ports = spec.get("ports") or [{}]
    found = [] if spec.get("type") == "ClusterIP" else ["type: must be ClusterIP, inside alone"]
    wanted = {"name": "http", "port": 5000, "targetPort": "http", "protocol": "TCP"}
    if ports != [wanted]:
        found.append(f"ports: must be {wanted}")
    if (spec.get("selector") or {}) != document["metadata"]["labels"]:
        found.append("selector: must match the pod's labels")
    return found if document["metadata"]["name"] == "mlflow" else [*found, "name: must be mlflow"]


def _config_map(document: dict[str, Any]) -> list[str]:
    from .text_checks import auth_problems

    if document["metadata"]["name"] != "mlflow":
        return ["name: must be mlflow"]
    return auth_problems(str((document.get("data") or {}).get("mlflow-auth.ini", "")))


def _network_policy(document: dict[str, Any]) -> list[str]:
    spec = document.get("spec") or {}
    ours = {"matchLabels": {PART_OF: document["metadata"]["labels"][PART_OF]}}
    operator = {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}}
    among = {"from": [{"podSelector": ours}]}
    asked = {
        "from": [{"namespaceSelector": {}, "podSelector": operator}],
        "ports": [{"port": 8265, "protocol": "TCP"}],
    }
    right = {"podSelector": ours, "policyTypes": ["Ingress"], "ingress": [among, asked]}
    return [] if spec == right else ["spec: must let in pods of ours, and the operator at 8265"]


_BY_KIND = {
    "RayCluster": _ray_cluster,
    "RayJob": _ray_job,
    "Deployment": _deployment,
    "Service": _service,
    "ConfigMap": _config_map,
    "NetworkPolicy": _network_policy,
}

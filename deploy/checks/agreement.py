"""What the places of a folder of manifests must agree in, whichever file they stand in.

Each of them can be right by itself: a secret's name, the image of all nodes, a server's address and
the hosts that it answers. An edit of one place alone gives a cluster that starts and does not work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from .findings import flags_of
from .pod_check import PART_OF

_IMAGE = ("Dockerfile", ".dockerignore", "constraints.txt")
BESIDE = {
    "compose.yaml": (*_IMAGE, "mlflow-auth.ini"),
    "cluster.yaml": _IMAGE,
    "raycluster.yaml": (*_IMAGE, "mlflow.yaml", "network-policy.yaml"),
    "rayjob.yaml": (*_IMAGE, "mlflow.yaml", "network-policy.yaml"),
    "Dockerfile": (".dockerignore", "constraints.txt"),
}
_OURS = ("bucket", "mlflow", "ray-head", "ray-worker")  # compose's services of our image
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION", "VGW_REGION")
_ENDPOINTS = ("AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL")
Place = tuple[str, Any]  # a file, and what stands there


def absent_files(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """File -> which file it needs beside it and has not."""
    for name, needed in BESIDE.items():
        for other in needed:
            if name in names and other not in names:
                yield name, f"must have {other} beside it"


def compose_disagreements(document: Mapping[str, Any]) -> Iterator[str]:
    """What compose's services must agree in, and what none of them may, ours or not."""
    services = {k: v for k, v in document["services"].items() if isinstance(v, dict)}
    images = [services[name].get("image") for name in _OURS if name in services]
    yield from _one("image of the nodes and of MLflow", images)
    variables = [pair for service in services.values() for pair in _variables(service)]
    for what, names in (("region", _REGIONS), ("store's address", _ENDPOINTS)):
        yield from _one(what, [value for name, value in variables if name in names])
    tracking = [value for name, value in variables if name == "MLFLOW_TRACKING_URI"]
    yield from _tracking(tracking, services.get("mlflow", {}).get("command") or [])
    head = flags_of([str(word) for word in services["ray-head"]["command"]])
    if head.get("--dashboard-host") != "0.0.0.0":
        yield "ray-head: must be heard outside its container: --dashboard-host=0.0.0.0"
    for name, service in services.items():
        if service.get("privileged") or "host" in (service.get("network_mode"), service.get("pid")):
            yield f"{name}: must have no right over the machine"
        for port in service.get("ports") or []:
            if not str(port).startswith("127.0.0.1:"):
                yield f"{name}.ports: must be published on 127.0.0.1 alone, but is {port!r}"


def _variables(service: Mapping[str, Any]) -> list[tuple[str, Any]]:
    environment = service.get("environment")
    return list(environment.items()) if isinstance(environment, dict) else []


def _tracking(uris: list[Any], command: list[Any]) -> Iterator[str]:
    """One server, which answers under the name that it is asked by where it is the folder's own."""
    yield from _one("MLflow's address", uris)
    allowed = flags_of([str(word) for word in command]).get("--allowed-hosts", "").split(",")
    for uri in sorted({str(one) for one in uris}):
        parts = urlsplit(uri)
        is_own = re.fullmatch(
            r"mlflow(\.[a-z0-9-]+\.svc)?(\.cluster\.local)?", parts.hostname or ""
        )
        if is_own and command and (parts.scheme != "http" or parts.netloc not in allowed):
            yield f"MLflow's address: must be one that it answers, but is {uri}"


def kubernetes_disagreements(objects: list[Place]) -> Iterator[tuple[str, str]]:
    """What Kubernetes' objects must agree in, with the file of the first that differs."""
    for key in ("namespace", PART_OF, "image"):
        found = [(file, v) for file, one in objects for k, v in _leaves(one) if k == key]
        yield from _first_other(key, found)
    secrets = [(file, v) for file, one in objects for v in _secrets(one)]
    yield from _first_other("secret's name", secrets)
    uris = [(file, v) for file, one in objects for v in _set_to(one, "MLFLOW_TRACKING_URI")]
    yield from _first_other("MLflow's address", uris)
    commands = [one for _, pod in objects for k, one in _leaves(pod) if k == "command"]
    servers = [one for one in commands if isinstance(one, list) and one[:1] == ["mlflow"]]
    for file, uri in uris[:1]:
        for problem in _tracking([uri], servers[0] if servers else []):
            yield file, problem


def _first_other(what: str, found: list[Place]) -> Iterator[tuple[str, str]]:
    for file, value in found:
        if value != found[0][1]:
            told = f"must be the same everywhere, but is {value!r} beside {found[0][1]!r}"
            yield file, f"{what}: {told}"
            return


def _one(what: str, values: list[Any]) -> Iterator[str]:
    different = sorted({str(value) for value in values})
    if len(different) > 1:
        yield f"{what}: must be the same everywhere, but is {' and '.join(different)}"


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of nested mappings with what stands there."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)


def _secrets(value: Any) -> Iterator[str]:
    for key, inner in _leaves(value):
        if key == "secretName":
            yield str(inner)
        if key in ("secretKeyRef", "secretRef") and isinstance(inner, dict):
            yield str(inner.get("name"))


def _set_to(value: Any, variable: str) -> Iterator[str]:
    for key, inner in _leaves(value):
        if key == "env" and isinstance(inner, list):
            for one in inner:
                if isinstance(one, dict) and one.get("name") == variable and "value" in one:
                    yield str(one["value"])


def script_disagreements(text: str) -> Iterator[str]:
    """What a Slurm script says more than once: the run's name, its storage, MLflow's address."""
    named = re.findall(r"paceline (?:show|resume) ([\w.-]+)", text)
    named += re.findall(r"--name ([\w.-]+)", text)
    yield from _one("run's name", named)
    yield from _one("storage", re.findall(r"--storage (\S+?)[;)\s]", text))
    uris = re.findall(r"^export MLFLOW_TRACKING_URI=(\S+)$", text, re.M)
    yield from _one("MLflow's address", uris + re.findall(r"--tracking-uri (\S+?)[)\s]", text))

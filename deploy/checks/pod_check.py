"""Kubernetes' own schema, and pods that may do what they must and nothing else."""

from __future__ import annotations

import re
from typing import Any

from .findings import RENAMED, SECRETS, image_problem, missing, plain_variable

VERSION = "1.31"
PART_OF, COMPONENT = "app.kubernetes.io/part-of", "app.kubernetes.io/component"


def has_validator() -> bool:
    """Whether the package with Kubernetes' schemas is installed."""
    try:
        import kubernetes_validate  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def core_problems(document: dict[str, Any]) -> list[str]:
    """What Kubernetes' own schema says, strictly."""
    if not has_validator():
        return []
    import kubernetes_validate

    try:
        kubernetes_validate.validate(document, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"]
    except (kubernetes_validate.SchemaNotFoundError, KeyError, AttributeError) as error:
        return [f"apiVersion: {getattr(error, 'message', error)}"]
    return []


def pod_problems(template: Any, at: str, wanted: set[str]) -> list[str]:
    """What is wrong with the template of a pod, each of whose containers wants these variables."""
    found = core_problems(
        {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
    )
    if found:
        return [f"{at}.{text}" for text in found]
    labels = (template.get("metadata") or {}).get("labels") or {}
    found = missing({PART_OF, COMPONENT}, labels, f"{at}.labels")
    spec = template.get("spec") or {}
    found += _locked_problems(spec, at)
    volumes = {volume.get("name"): volume for volume in spec.get("volumes") or []}
    for volume in volumes.values():
        if not {"emptyDir", "configMap"} & set(volume):
            found.append(f"{at}.volumes: must be empty folders or settings, but is {volume}")
    for container in spec.get("containers") or []:
        found += _container_problems(container, f"{at}.{container.get('name')}", volumes, wanted)
    return found if spec.get("containers") else [*found, f"{at}: must have a container"]


def _locked_problems(spec: dict[str, Any], at: str) -> list[str]:
    """A pod that does more than it must."""
    found = []
    context = spec.get("securityContext") or {}
    if spec.get("automountServiceAccountToken") is not False:
        found.append(f"{at}: must have no account of the API")
    if context.get("runAsNonRoot") is not True:
        found.append(f"{at}: must not run as root")
    for key in ("runAsUser", "runAsGroup", "fsGroup"):
        if not isinstance(context.get(key), int) or context[key] < 1:
            found.append(f"{at}.{key}: must be a number other than root's")
    if (context.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        found.append(f"{at}.seccompProfile: must be RuntimeDefault")
    surplus = {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    return found + [f"{at}.{key}: must not be set" for key in surplus]


def _container_problems(
    container: dict[str, Any], at: str, volumes: dict[Any, Any], wanted: set[str]
) -> list[str]:
    found = image_problem(container.get("image"), f"{at}.image")
    context = container.get("securityContext") or {}
    locked = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    if context != locked:
        found.append(f"{at}.securityContext: must be {locked}")
    given = container.get("resources") or {}
    for key in ("limits", "requests"):
        found += missing({"cpu", "memory"}, given.get(key), f"{at}.resources.{key}")
    if given.get("limits") != given.get("requests"):
        found.append(f"{at}.resources: requests must be the limits, as Ray takes them for its own")
    for name, amount in (given.get("limits") or {}).items():
        unit = "Gi" if name == "memory" else ""
        if name not in ("cpu", "memory", "nvidia.com/gpu") or not re.fullmatch(
            rf"[1-9]\d*{unit}", str(amount)
        ):
            found.append(f"{at}.resources: {name} must not be {amount!r}")
    mounts = {
        mount.get("name"): mount.get("mountPath") for mount in container.get("volumeMounts") or []
    }
    if set(mounts) != set(volumes) or len(set(mounts.values())) != len(mounts):
        found.append(f"{at}.volumeMounts: each volume must be mounted in a place of its own")
    if "/tmp" not in mounts.values() or "/var/lib/paceline" not in mounts.values():
        found.append(f"{at}.volumeMounts: must have /tmp and /var/lib/paceline to write")
    if container.get("imagePullPolicy") != "IfNotPresent":
        found.append(f"{at}.imagePullPolicy: must be IfNotPresent")
    return found + _variable_problems(container.get("env") or [], at, wanted)


def _variable_problems(variables: list[dict[str, Any]], at: str, wanted: set[str]) -> list[str]:
    found = missing(wanted, [one.get("name") for one in variables], f"{at}.env")
    for variable in variables:
        name = str(variable.get("name"))
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if reference is None:
            found += [f"{at}.env.{text}" for text in plain_variable(name, variable.get("value"))]
            continue
        right = name if name == "PGPASSWORD" else RENAMED.get(name, name)
        if not reference.get("name") or reference.get("key") != right or right not in SECRETS:
            found.append(f"{at}.env.{name}: must be the secret's {right}")
        if reference.get("optional"):
            found.append(f"{at}.env.{name}: must not be optional")
    return found

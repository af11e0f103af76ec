"""A compose file: the specification's schema, and what our services must and must not be."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

from .compose_ports import port_problems
from .findings import (
    MLFLOW_SAFE,
    NODE,
    PLAIN,
    RENAMED,
    SECRETS,
    command_problems,
    image_problem,
    missing,
    plain_variable,
    schema_errors,
)

SERVICES = {"postgres", "s3", "s3-folder", "bucket", "mlflow", "ray-head", "ray-worker"}
_REFERENCE = re.compile(r"\$\{([A-Z_]+):\?[^}]+\}")
_WANTED = {
    "postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "POSTGRES_INITDB_ARGS"},
    "s3": {"ROOT_ACCESS_KEY", "ROOT_SECRET_KEY", "VGW_PORT", "VGW_REGION", "VGW_HEALTH"},
    "s3-folder": set[str](),
    "bucket": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"},
    "mlflow": MLFLOW_SAFE | {"PGUSER", "PGPASSWORD", "MLFLOW_S3_ENDPOINT_URL"},
    "ray-head": NODE | {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "AWS_ENDPOINT_URL"},
    "ray-worker": NODE | {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "AWS_ENDPOINT_URL"},
}
_NETWORKS = {
    "postgres": {"database"},
    "s3": {"storage"},
    "bucket": {"storage"},
    "mlflow": {"database", "storage", "cluster"},
    "ray-head": {"storage", "cluster"},
    "ray-worker": {"storage", "cluster"},
}
_AFTER = {
    "s3": {"s3-folder"},
    "bucket": {"s3"},
    "mlflow": {"postgres", "bucket"},
    "ray-head": {"mlflow"},
    "ray-worker": {"ray-head"},
}
_VOLUME = r"(?:[a-z0-9-]+:)?/(?:data|var/lib/(?:paceline|postgresql/data))"
_VOLUMES = {
    "s3": ["s3:/data"],
    "s3-folder": ["s3:/var/lib/paceline"],
    "postgres": ["postgres:/var/lib/postgresql/data"],
}
_TMPFS = r"/(?:tmp|run/postgresql)(?::(?:mode=1777|uid=[1-9]\d*,gid=[1-9]\d*,mode=0775))?"
_RESTART = {"s3-folder": "no", "bucket": "on-failure"}


def specification() -> dict[str, Any] | None:
    """The compose specification's schema, as the package check-jsonschema carries it."""
    try:
        folder = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
        return json.loads((folder / "compose-spec.json").read_text())
    except (ModuleNotFoundError, FileNotFoundError):
        return None


def compose_problems(document: Any) -> list[str]:
    """What is wrong with a compose file, or an empty list."""
    schema = specification()
    found = schema_errors(schema, document) if schema else []
    if found or not isinstance(document, dict):
        return found or ["compose.yaml: must be a mapping"]
    services = document.get("services") or {}
    found += missing({"name", "networks", "volumes", "configs"}, document, "compose.yaml")
    found += missing(SERVICES, services, "services")
    for name, service in services.items():
        if name in SERVICES:
            found += _service_problems(name, service, document)
    return found or port_problems(services)


def _service_problems(name: str, service: dict[str, Any], document: dict[str, Any]) -> list[str]:
    found = image_problem(service.get("image"), f"{name}.image")
    found += _locked_problems(name, service)
    found += _limit_problems(name, service)
    found += _environment_problems(name, service.get("environment") or {})
    found += _place_problems(name, service, document)
    found += _order_problems(name, service, document["services"])
    if "command" in service or name != "postgres":
        found += command_problems(service.get("command"), f"{name}.command")
    for port in service.get("ports") or []:
        if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port)):
            found.append(f"{name}.ports: must be published on 127.0.0.1 alone, but is {port!r}")
    return found


def _locked_problems(name: str, service: dict[str, Any]) -> list[str]:
    wanted = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "restart": _RESTART.get(name, "unless-stopped"),
    }
    found = [
        f"{name}.{key}: must be {value!r}, but is {service.get(key)!r}"
        for key, value in wanted.items()
        if service.get(key) != value
    ]
    forbidden = {
        "privileged",
        "cap_add",
        "pid",
        "ipc",
        "devices",
        "env_file",
        "expose",
        "userns_mode",
    }
    found += [f"{name}.{key}: must not be set" for key in forbidden & set(service)]
    user = str(service.get("user", ""))
    if not re.fullmatch(r"[1-9]\d*:\d+", user):
        found.append(f"{name}.user: must be a number other than root's, but is {user!r}")
    if service.get("network_mode", "none") != "none":
        found.append(f"{name}.network_mode: must not be the host's")
    return found


def _limit_problems(name: str, service: dict[str, Any]) -> list[str]:
    resources_ = (service.get("deploy") or {}).get("resources") or {}
    limits = resources_.get("limits") or {}
    found = missing({"cpus", "memory", "pids"}, limits, f"{name} limits")
    if not re.fullmatch(r"[1-9]\d*", str(limits.get("cpus", 1))):
        found.append(f"{name}: cpus must be a number of cores")
    if not re.fullmatch(r"[1-9]\d*[MG]", str(limits.get("memory", "1G"))):
        found.append(f"{name}: memory must be an amount as 4G")
    if name.startswith("ray"):
        if not re.fullmatch(r"[1-9]\d*G", str(service.get("shm_size", ""))):
            found.append(f"{name}.shm_size: must hold Ray's object store")
        found += missing({"stop_grace_period"}, service, name)
    if name == "ray-worker" and (service.get("deploy") or {}).get("replicas", 0) < 1:
        found.append(f"{name}: must have replicas")
    return found


def _environment_problems(name: str, environment: Any) -> list[str]:
    if not isinstance(environment, dict):
        return [f"{name}.environment: must be a mapping"]
    found = missing(_WANTED[name], environment, f"{name}.environment")
    for variable, value in environment.items():
        if variable not in PLAIN and variable in {*RENAMED, *SECRETS}:
            match = _REFERENCE.fullmatch(str(value))
            if not match or match[1] != RENAMED.get(variable, variable):
                found.append(f"{name}.{variable}: must be a reference that fails when empty")
        else:
            found += [f"{name}.{text}" for text in plain_variable(variable, value)]
    return found


def _place_problems(name: str, service: dict[str, Any], document: dict[str, Any]) -> list[str]:
    found = _network_problems(name, service, document.get("networks") or {})
    found += missing({"volumes"}, service, name)
    for volume in service.get("volumes") or []:
        source, colon, _ = str(volume).partition(":")
        if not re.fullmatch(_VOLUME, volume):
            found.append(f"{name}.volumes: must not be {volume!r}")
        if colon and source not in (document.get("volumes") or {}):
            found.append(f"{name}.volumes: {source!r} must be a volume of the file")
    if name in _VOLUMES and service.get("volumes") != _VOLUMES[name]:
        found.append(f"{name}.volumes: must be {_VOLUMES[name]}")
    if name != "s3":
        found += missing({"tmpfs"}, service, name)
    for mount in service.get("tmpfs") or []:
        if not re.fullmatch(_TMPFS, mount):
            found.append(f"{name}.tmpfs: must not be {mount!r}")
    return found + (_config_problems(service, document) if name == "mlflow" else [])


def _network_problems(name: str, service: dict[str, Any], networks: dict[str, Any]) -> list[str]:
    """Who can talk to whom, and who has no way out."""
    wanted = _NETWORKS.get(name, set())
    found = []
    if set(service.get("networks") or ()) != wanted:
        found.append(f"{name}.networks: must be {sorted(wanted)}")
    if name == "s3-folder" and service.get("network_mode") != "none":
        found.append(f"{name}.network_mode: must be none")
    for network in wanted:
        if network not in networks:
            found.append(f"networks.{network}: must be there")
        elif network != "cluster" and (networks[network] or {}).get("internal") is not True:
            found.append(f"networks.{network}: must be internal")
    return found


def _config_problems(service: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """The server reads its settings where the file is laid."""
    path = (service.get("environment") or {}).get("MLFLOW_AUTH_CONFIG_PATH")
    configs = [c for c in service.get("configs") or [] if isinstance(c, dict)]
    laid = {config.get("target"): config.get("source") for config in configs}
    sources = document.get("configs") or {}
    file = (sources.get(laid.get(path)) or {}).get("file")
    if file != "./mlflow-auth.ini":
        return ["mlflow.configs: mlflow-auth.ini must lie where MLFLOW_AUTH_CONFIG_PATH says"]
    return []


def _order_problems(name: str, service: dict[str, Any], services: dict[str, Any]) -> list[str]:
    after = service.get("depends_on") or {}
    if not isinstance(after, dict) or set(after) != _AFTER.get(name, set()):
        return [f"{name}.depends_on: must be {sorted(_AFTER.get(name, ()))}"]
    found = []
    for other, how in after.items():
        ends = other in _RESTART
        wanted = "service_completed_successfully" if ends else "service_healthy"
        if (how or {}).get("condition") != wanted:
            found.append(f"{name}.depends_on.{other}: must wait until {wanted}")
        test = ((services.get(other) or {}).get("healthcheck") or {}).get("test")
        if not ends and not test:
            found.append(f"{other}.healthcheck: must be there, as {name} waits for it")
    return found + _health_problems(name, service)


def _health_problems(name: str, service: dict[str, Any]) -> list[str]:
    if name in _RESTART:
        return []
    health = service.get("healthcheck") or {}
    keys = {"test", "interval", "timeout", "retries", "start_period"}
    found = missing(keys, health, f"{name}.healthcheck")
    test = health.get("test") or [""]
    programs = {"postgres": "pg_isready", "s3": "wget", "mlflow": "wget"}
    if test[0] != "CMD" or test[1:2] != [programs.get(name, "ray")] or health.get("disable"):
        found.append(f"{name}.healthcheck: must ask the service itself")
    elif test[1] == "ray":
        found += command_problems(test[1:], f"{name}.healthcheck")
    elif test[1] == "pg_isready":
        environment = service.get("environment") or {}
        words = [environment.get("POSTGRES_USER"), environment.get("POSTGRES_DB")]
        if test[2:] != [f"--username={words[0]}", f"--dbname={words[1]}"]:
            found.append("postgres.healthcheck: must ask as the database's account")
    elif test[2:5] != ["-q", "-O", "-"]:
        found.append(f"{name}.healthcheck: must write nothing")
    return found

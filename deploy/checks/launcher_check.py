"""A file of Ray's launcher: Ray's own schema and preparation, then ours of it."""

from __future__ import annotations

import json
import re
import shlex
from importlib import resources
from typing import Any

from ..rules import is_host, is_storage
from .findings import (
    assigned,
    command_problems,
    image_problem,
    missing,
    plain_variable,
    schema_errors,
)

_OPTIONS = {
    "--cap-drop": "ALL",
    "--security-opt": r"no-new-privileges:true",
    "--pids-limit": r"[1-9]\d*",
    "--user": r"\$\(id -u\):0",
    "--cpus": r"[1-9]\d*",
    "--memory": r"[1-9]\d*g",
}
_AT_NODE = "/home/paceline/paceline.env"
_READ = f'set -a && . {_AT_NODE} && set +a && : "${{RAY_AUTH_TOKEN:?'


def schema() -> dict[str, Any]:
    """Ray's schema of the file."""
    return json.loads((resources.files("ray.autoscaler") / "ray-schema.json").read_text())


def launcher_problems(document: Any) -> list[str]:
    """What is wrong with a launcher's file, or an empty list."""
    found = schema_errors(schema(), document)
    if found:
        return found
    wanted = {"auth", "docker", "file_mounts", "max_workers", "idle_timeout_minutes"}
    wanted |= {"head_start_ray_commands", "worker_start_ray_commands"}
    found = missing(wanted, document, "cluster.yaml")
    if found:
        return found
    known = {*wanted, "cluster_name", "provider", "available_node_types", "head_node_type"}
    found += [f"{key}: must not be here" for key in sorted(set(document) - known)]
    provider = document["provider"]
    if provider.get("head_ip") and provider["head_ip"] in (provider.get("worker_ips") or []):
        found.append("provider.worker_ips: must not have the head")
    found += _provider_problems(document)
    found += _docker_problems(document["docker"])
    if document["file_mounts"] != {_AT_NODE: "./paceline.env"}:
        found.append(f"file_mounts: must bring paceline.env to {_AT_NODE}")
    user = document["auth"].get("ssh_user")
    if not user or user == "root":
        found.append("auth.ssh_user: must be an account other than root")
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", document["cluster_name"]):
        found.append("cluster_name: must be a DNS label")
    head, worker = (document[f"{kind}_start_ray_commands"] for kind in ("head", "worker"))
    return [*found, *_start_problems(head, worker, is_local=provider["type"] == "local")]


def _provider_problems(document: dict[str, Any]) -> list[str]:
    provider = document["provider"]
    if provider["type"] == "local":
        hosts = [provider.get("head_ip"), *(provider.get("worker_ips") or [None])]
        found = [f"provider: must not have {h!r}" for h in hosts if not is_host(str(h or "."))]
        found += [f"{k}: must not be here" for k in ("available_node_types",) if k in document]
        if set(provider) != {"type", "head_ip", "worker_ips"}:
            found.append("provider: must have type, head_ip and worker_ips")
        elif document["max_workers"] != len(provider["worker_ips"]):
            found.append("max_workers: must be the number of worker_ips")
        return found
    if provider["type"] != "aws":
        return [f"provider.type: must be local or aws, but is {provider['type']!r}"]
    known = {"type", "region", "cache_stopped_nodes", "use_internal_ips", "security_group"}
    found = missing(known, provider, "provider")
    found += [f"provider.{key}: must not be here" for key in set(provider) - known]
    if provider.get("cache_stopped_nodes") or provider.get("use_internal_ips"):
        found.append("provider: machines must end, and have an address to be reached at")
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", str(provider.get("region"))):
        found.append("provider.region: must be a region's name")
    if not (provider.get("security_group") or {}).get("GroupName"):
        found.append("provider.security_group: must have a GroupName")
    return found + _machine_problems(document)


def _machine_problems(document: dict[str, Any]) -> list[str]:
    types = document.get("available_node_types") or {}
    head = document.get("head_node_type")
    if head not in types or len(types) < 2:
        return ["head_node_type: must be one of the types, with another for workers"]
    found = []
    for name, machine in types.items():
        found += _node_problems(name, machine["node_config"])
        least, most = machine.get("min_workers"), machine.get("max_workers")
        if name == head:
            if machine["resources"] != {"CPU": 0} or least or most:
                found.append("head: must take no trial")
        elif not least or least != most or most != document["max_workers"]:
            found.append(f"{name}: must have as many workers as the cluster")
    return found


def _node_problems(name: str, config: dict[str, Any]) -> list[str]:
    """A rented machine: what it is, its disk, how it answers for its metadata."""
    found = []
    for disk in config.get("BlockDeviceMappings") or [{}]:
        ebs = disk.get("Ebs") or {}
        sized = ebs.get("VolumeType") == "gp3" and isinstance(ebs.get("VolumeSize"), int)
        if ebs.get("Encrypted") is not True or not sized or set(ebs) - _DISK:
            found.append(f"{name}: disks must be encrypted, gp3, of a size in GiB")
        if disk.get("DeviceName") != "/dev/sda1" or set(disk) != {"DeviceName", "Ebs"}:
            found.append(f"{name}: the disk must be the machine's first")
    metadata = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}
    if config.get("MetadataOptions") != metadata:
        found.append(f"{name}: metadata must want a session, over two hops")
    if not re.fullmatch(r"[a-z0-9-]+\.[a-z0-9-]+", str(config.get("InstanceType"))):
        found.append(f"{name}: must have an InstanceType")
    if set(config) != {"InstanceType", "BlockDeviceMappings", "MetadataOptions"}:
        found.append(f"{name}.node_config: has other keys than ours")
    return found


_DISK = {"VolumeSize", "VolumeType", "Encrypted"}


def _docker_problems(docker: dict[str, Any]) -> list[str]:
    found = image_problem(docker.get("image"), "docker.image")
    if docker.get("pull_before_run") is not False or not docker.get("container_name"):
        found.append("docker: must have a name, and take an image that is there")
    options = [str(option).partition("=") for option in docker.get("run_options") or []]
    given = {name: value for name, _, value in options}
    for name, rule in _OPTIONS.items():
        if not re.fullmatch(rule, given.get(name, "")):
            found.append(f"docker.run_options: must have {name} as it was rendered")
    shared = given.pop("--volume", "/a:/a").split(":")
    if len(shared) != 2 or shared[0] != shared[1] or not is_storage(shared[0]):
        found.append("docker.run_options: --volume must be one folder at its own place")
    surplus = set(given) - set(_OPTIONS)
    return found + [f"docker.run_options: must not have {name}" for name in surplus]


def _start_problems(head: list[str], worker: list[str], *, is_local: bool) -> list[str]:
    found = []
    for at, commands in (("head", head), ("worker", worker)):
        if len(commands) != 2 or commands[0] != "ray stop":
            found.append(f"{at}_start_ray_commands: must be `ray stop` and a start")
        else:
            found += _one_start(at, commands[1])
    if found:
        return found
    if _exported(head[1]) != _exported(worker[1]):
        found.append("worker_start_ray_commands: must export what the head exports")
    flags = assigned(shlex.split(head[1]))
    address = f"--address=$RAY_HEAD_IP:{flags.get('--port')}"
    if address not in shlex.split(worker[1]):
        found.append("worker_start_ray_commands: must call the head at its port")
    right = {"--dashboard-host": "127.0.0.1", "--autoscaling-config": "~/ray_bootstrap_config.yaml"}
    right |= {"--num-cpus": "0"} if is_local else {}  # the head takes no trial
    for name, value in right.items():
        if flags.get(name) != value:
            found.append(f"head_start_ray_commands: {name} must be {value}")
    if (flags.get("--port"), flags.get("--dashboard-port")) != ("6379", "8265"):
        found.append("head_start_ray_commands: ports must be 6379 and 8265")
    return found


def _exported(command: str) -> dict[str, str]:
    """The settings that a start exports, by name."""
    return assigned(command.split(" && ")[-3].split()[1:])


def _one_start(at: str, command: str) -> list[str]:
    if not command.startswith(_READ):
        return [f"{at}: must read {_AT_NODE} and refuse to start without the token"]
    parts = command.split(" && ")
    if len(parts) != 7:
        return [f"{at}: must read, ask for the token, export, raise limits and start"]
    exported = _exported(command)
    wanted = {"RAY_AUTH_MODE", "MLFLOW_TRACKING_URI", "AWS_DEFAULT_REGION"}
    found = missing(wanted, exported, f"{at} export")
    if not parts[-3].startswith("export ") or parts[-2] != "ulimit -n 65536":
        found.append(f"{at}: must export its settings and raise the number of files")
    for name, value in exported.items():
        found += [f"{at}.{text}" for text in plain_variable(name, value)]
    try:
        words = shlex.split(parts[-1])
    except ValueError as error:
        return [*found, f"{at}: {error}"]
    if words[:2] != ["ray", "start"] or ("--head" in words) != (at == "head"):
        found.append(f"{at}: must start Ray's {at}")
    return found + command_problems(words, at)

"""Ray's own launcher, `ray up`: machines that one has, or machines of a cloud (AWS).

Nodes run our image. What is secret travels as a file from the machine that launches to every node
and is read where Ray starts. The dashboard listens on the head's loopback; `ray dashboard` opens
a tunnel to it.
"""

from __future__ import annotations

import shlex
from typing import Any

from ..values import ClusterValues
from . import parts
from .environment import NODES, environment_file
from .image import image_files
from .yaml_text import yaml_text

_AT_NODE = f"{parts.HOME}/{parts.ENVIRONMENT_FILE}"  # where the container's Ray reads it
_HEAD, _WORKER = "head", "worker"


def on_premise_files(values: ClusterValues) -> dict[str, str]:
    """A cluster of machines that are there."""
    parts.need(values, "on-premise", "head_ip", "worker_ips", "tracking_uri")
    return _files(values, on_premise(values))


def aws_files(values: ClusterValues) -> dict[str, str]:
    """A cluster of machines that are rented from Amazon."""
    parts.need(values, "aws", "tracking_uri")
    parts.need_bucket(values, "aws")
    return _files(values, aws(values))


def _files(values: ClusterValues, cluster: dict[str, Any]) -> dict[str, str]:
    words = shlex.join(parts.paceline_words(values, "auto"))
    head = f"""\
The cluster {values.name}, started by Ray's launcher. Every machine needs Docker and the image;
in this folder the file {parts.ENVIRONMENT_FILE} holds what is secret.
  ray up cluster.yaml
  ray exec cluster.yaml {shlex.quote(_with_secrets(values, words))}
  ray dashboard cluster.yaml
  ray down cluster.yaml"""
    return {
        "cluster.yaml": yaml_text(head, cluster),
        **environment_file(NODES),
        **image_files(values),
    }


def on_premise(values: ClusterValues) -> dict[str, Any]:
    """The launcher's file for machines that are there."""
    workers = [ip.strip() for ip in values.worker_ips.split(",")]
    provider = {"type": "local", "head_ip": values.head_ip, "worker_ips": workers}
    return _cluster(values, provider, len(workers))


def aws(values: ClusterValues) -> dict[str, Any]:
    """The launcher's file for Amazon: encrypted disks, sessions for metadata.

    Ray's launcher opens SSH of the group that it makes to every address, whatever is asked for;
    who has no key is not let in.
    """
    provider = {
        "type": "aws",
        "region": values.region,
        "cache_stopped_nodes": False,
        "use_internal_ips": False,
        "security_group": {"GroupName": f"{values.name}-ray"},
    }
    cluster = _cluster(values, provider, values.workers)
    machines = {
        _HEAD: {"resources": {"CPU": 0}, "node_config": _machine(values, 100)},
        _WORKER: {
            "resources": {},
            "min_workers": values.workers,
            "max_workers": values.workers,
            "node_config": _machine(values, 200),
        },
    }
    return {**cluster, "available_node_types": machines, "head_node_type": _HEAD}


def _machine(values: ClusterValues, disk_gib: int) -> dict[str, Any]:
    disk = {"VolumeSize": disk_gib, "VolumeType": "gp3", "Encrypted": True}
    return {
        "InstanceType": values.instance_type,
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
        # Two hops, as the container is one further from the machine's metadata.
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
    }


def _cluster(values: ClusterValues, provider: dict[str, Any], workers: int) -> dict[str, Any]:
    gcs, board = f"--port={parts.GCS_PORT}", f"--dashboard-port={parts.DASHBOARD_PORT}"
    head = f"ray start --head {gcs} --dashboard-host=127.0.0.1 {board}"
    worker = f'ray start --address="$RAY_HEAD_IP:{parts.GCS_PORT}"'
    if provider["type"] == "local":  # of rented machines their types say what they have
        head += " --num-cpus=0"
        worker += f" --num-gpus={values.gpus}" if values.gpus else ""
    auth = {"ssh_user": values.ssh_user}
    if values.ssh_key:
        auth["ssh_private_key"] = values.ssh_key
    return {
        "cluster_name": values.name,
        "max_workers": workers,
        "idle_timeout_minutes": 60,
        "provider": provider,
        "auth": auth,
        "docker": _docker(values),
        "file_mounts": {_AT_NODE: f"./{parts.ENVIRONMENT_FILE}"},
        "head_start_ray_commands": [
            "ray stop",
            _with_secrets(values, f"{head} --autoscaling-config=~/ray_bootstrap_config.yaml"),
        ],
        "worker_start_ray_commands": ["ray stop", _with_secrets(values, worker)],
    }


def _docker(values: ClusterValues) -> dict[str, Any]:
    """Containers without capabilities; Ray finds out how much /dev/shm they can have."""
    options = ["--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--pids-limit=16384"]
    return {
        "image": values.image,
        "container_name": f"{values.name}-ray",
        "pull_before_run": False,  # an image that is there is taken, another is pulled
        "run_options": [
            *options,
            # Expanded by the machine's shell: who owns the files that the launcher brings.
            "--user=$(id -u):0",
            f"--cpus={values.cpus}",
            f"--memory={values.memory_gib}g",
            *_shared_folder(values),
        ],
    }


def _shared_folder(values: ClusterValues) -> list[str]:
    """The machines' shared folder, at the same place in every container."""
    is_folder = values.storage.startswith("/")
    return [f"--volume={values.storage}:{values.storage}"] if is_folder else []


def _with_secrets(values: ClusterValues, start: str) -> str:
    """The command that starts Ray, with the token read from the file and demanded by all."""
    settings = {"RAY_AUTH_MODE": "token", "MLFLOW_TRACKING_URI": values.tracking_uri}
    if values.s3_endpoint:
        settings["AWS_ENDPOINT_URL"] = values.s3_endpoint
    settings["AWS_DEFAULT_REGION"] = values.region
    exported = " ".join(f"{name}={value}" for name, value in settings.items())
    read = f"set -a && . {_AT_NODE} && set +a"
    asked = f': "${{{parts.TOKEN}:?fill in {parts.ENVIRONMENT_FILE}}}"'
    return f"{read} && {asked} && export {exported} && ulimit -n 65536 && {start}"

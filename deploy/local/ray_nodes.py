"""Ray's head and workers as local processes: each a node of its own, all at 127.0.0.1.

All that they open is on the loopback, and all ask for the token. The machine is divided among the
workers; the head has no CPU to train on and only drives.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from ...platform.ports import HOST
from ..cluster_profile import node_environment
from .cluster import HEAD, LocalCluster
from .processes import failed, of_cluster, start

START_LIMIT_S = 120
OBJECT_STORE_BYTES = 200_000_000  # metrics and configs are small


def start_head(cluster: LocalCluster) -> None:
    """Start the head: GCS, dashboard with jobs, and a node without CPUs.

    Raises:
        RunError: It does not start.
    """
    ports = [f"--port={cluster.ports['gcs']}", f"--dashboard-port={cluster.ports['dashboard']}"]
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", *ports),
        *(f"--node-ip-address={HOST}", f"--dashboard-host={HOST}", "--include-dashboard=true"),
        *("--dashboard-agent-listen-port=0", f"--node-name={HEAD}", "--num-cpus=0", "--num-gpus=0"),
        *_sizes(cluster),
        *("--disable-usage-stats", "--log-style=record", "--log-color=false"),
    ]
    _start(cluster, HEAD, command, {})


def start_worker(cluster: LocalCluster, part: str) -> None:
    """Start one worker.

    Raises:
        RunError: It does not start.
    """
    number = int(part.rpartition("-")[2])
    gpus = gpus_here()[number - 1 :: cluster.nodes]
    command = [
        *(sys.executable, "-m", "paceline.deploy.local.ray_worker", f"--name={part}"),
        f"--address={HOST}:{cluster.ports['gcs']}",
        *(f"--num-cpus={cluster.cpus}", f"--num-gpus={len(gpus)}"),
        *_sizes(cluster),
    ]
    _start(cluster, part, command, {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})


def _sizes(cluster: LocalCluster) -> list[str]:
    share = psutil.virtual_memory().total // (cluster.nodes + 1)
    sizes = [f"--memory={share}", f"--object-store-memory={OBJECT_STORE_BYTES}"]
    return [*sizes, f"--temp-dir={cluster.runtime}/ray"]


def _start(cluster: LocalCluster, part: str, command: list[str], more: dict[str, str]) -> None:
    log = cluster.folder / f"{part}.log"
    environment = {
        **node_environment(cluster.profile()),
        **more,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "RAY_START_HOOK": "paceline.deploy.local.ray_hook.without_client_server",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    process = start(cluster, part, command, environment, log)
    try:
        code = process.wait(START_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise failed(f"Ray's {part} must start within {START_LIMIT_S} s.", log) from None
    if code != 0 or not is_alive(cluster, part):
        raise failed(f"Ray's {part} ended with code {code} at its start.", log)


def is_alive(cluster: LocalCluster, part: str) -> bool:
    """Whether the node's own process runs, which Ray's other processes there live and die with."""
    return any(
        name == part and _name(process) == "raylet"
        for process, name in of_cluster(cluster.id).items()
    )


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def gpus_here() -> list[str]:
    """Numbers of the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    if (allowed := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [part.strip() for part in allowed.split(",") if part.strip() not in ("", "-1")]
    cards = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number in range(len(list(cards.glob("*"))))]

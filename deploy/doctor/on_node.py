"""What a node finds out about itself, as plain data; judged where the doctor runs.

These functions are shipped to the nodes by value: one that lacks this package, or has another
version of it, can be asked too. So nothing of the package is imported here, and what is not of the
standard library only inside a function, whose answer then says that it is missing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

CGROUP = "/sys/fs/cgroup"
_UNLIMITED = 1 << 60  # what cgroup v1 says for no limit is near 2**63


def ping() -> dict[str, Any]:
    """Who answers."""
    return {"python": ".".join(map(str, sys.version_info[:3])), "pid": os.getpid()}


def installed(packages: Sequence[str]) -> dict[str, str | None]:
    """Distribution -> its version; None: it is not there. Python's own stands as `python`."""
    found: dict[str, str | None] = {"python": ping()["python"]}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def importable(modules: Sequence[str]) -> dict[str, str | None]:
    """Module -> where it would be imported from; None: it is not there."""
    found: dict[str, str | None] = {}
    for module in modules:
        spec = importlib.util.find_spec(module)
        places = [] if spec is None else [*(spec.submodule_search_locations or []), spec.origin]
        found[module] = next((str(place) for place in places if place), None)
    return found


def processors(cgroup: str = CGROUP) -> dict[str, Any]:
    """CPUs of the machine, those this process may use, and the limit of its control group."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        usable = os.cpu_count() or 1
    return {"cpus": os.cpu_count() or 1, "usable": usable, "quota": cpu_quota(cgroup)}


def cpu_quota(cgroup: str = CGROUP) -> float | None:
    """CPUs that the control group may use at a time; None: no limit."""
    second, first = Path(cgroup, "cpu.max"), Path(cgroup, "cpu")
    if (text := _read(second)) is not None:
        quota, _, period = text.partition(" ")
        return None if quota == "max" else int(quota) / int(period or 100_000)
    quota, period = _read(first / "cpu.cfs_quota_us"), _read(first / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def memory(cgroup: str = CGROUP) -> dict[str, Any]:
    """Memory in bytes: of the machine, available in it, and the limit of the control group."""
    import psutil

    found = psutil.virtual_memory()
    limits = (Path(cgroup, "memory.max"), Path(cgroup, "memory/memory.limit_in_bytes"))
    texts = [text for text in map(_read, limits) if text and text.isdecimal()]
    limit = next((int(text) for text in texts if int(text) < _UNLIMITED), None)
    return {"total": found.total, "available": found.available, "limit": limit}


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def graphics() -> dict[str, Any]:
    """GPUs that the driver shows, and those that torch can use, each with what is in the way."""
    import subprocess

    found: dict[str, Any] = {"driver": 0, "torch": None, "names": [], "build": None, "error": ""}
    if (command := shutil.which("nvidia-smi")) is not None:
        told = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=15)
        lines = [line for line in told.stdout.splitlines() if line.startswith("GPU ")]
        found["driver"] = len(lines)
    # In a process of its own: the one that asks shall not hold memory of a GPU, and Ray hides the
    # GPUs from a worker that has reserved none.
    code = "import torch as t; print(t.cuda.device_count(), t.version.cuda)"
    hidden = ("CUDA_VISIBLE_DEVICES",)
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment
    )
    if told.returncode:
        found["error"] = (told.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    else:
        count, _, build = told.stdout.strip().rpartition("\n")[2].partition(" ")
        found |= {"torch": int(count), "build": None if build == "None" else build}
    return found


def room(places: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Folder -> bytes `free` and in `total` of the disk it is on, or its `error`.

    A folder that is not there yet is looked for above itself.
    """
    found: dict[str, dict[str, Any]] = {}
    for place in places:
        path = Path(place).expanduser().absolute()
        while not path.exists() and path != path.parent:
            path = path.parent
        try:
            usage = shutil.disk_usage(path)
            found[place] = {"free": usage.free, "total": usage.total}
        except OSError as error:
            found[place] = {"error": error.strerror or str(error)}
    return found


def clock() -> float:
    """Unix time in seconds."""
    return time.time()


def secrets(paths: Sequence[str], with_ray: bool) -> dict[str, Any]:
    """How Ray guards itself here, and who may read the files that hold secrets.

    Args:
        paths: Files, beside those that the environment names; what is not there is left out. Their
            content is not looked at.
        with_ray: Whether Ray is asked for its mode too.
    """
    named = [os.environ[name] for name in _NAMING_SECRETS if os.environ.get(name)]
    files = {}
    for path in dict.fromkeys([*paths, *named]):
        try:
            found = Path(path).expanduser().stat()
        except OSError:
            continue
        mine = found.st_uid in (os.getuid(), 0)
        files[path] = {"mode": stat.S_IMODE(found.st_mode), "is_own": mine}
    return {
        "files": files,
        "mode": _ray_mode() if with_ray else "",
        "has_token": bool(os.environ.get("RAY_AUTH_TOKEN")),
        "path": os.environ.get("RAY_AUTH_TOKEN_PATH", ""),
    }


_NAMING_SECRETS = ("RAY_AUTH_TOKEN_PATH", "AWS_SHARED_CREDENTIALS_FILE", "MLFLOW_AUTH_CONFIG_PATH")


def _ray_mode() -> str:
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    return "token" if is_token_auth_enabled() else "disabled"


def variables(names: Sequence[str]) -> dict[str, str]:
    """Those of the environment's variables that are set."""
    return {name: os.environ[name] for name in names if name in os.environ}


def data_sets() -> list[Mapping[str, Any]]:
    """Each known data set as `paceline data verify` has it: `name`, `where`, `state`."""
    points = sorted(metadata.entry_points(group="paceline.datasets"), key=lambda p: p.name)
    return [point.load().entry(check=True) for point in points]

"""One of two ranks that add a tensor up together, as the workers of a run do at every step.

Shipped to the nodes by value, as `on_node`. A rank is a process of its own: one that hangs in a
collective call cannot be stopped in any other way.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

NUM_FLOATS = 1_000_000  # 4 MB, about the gradients of a small network
CODE = f"""
import sys, time, datetime
import torch, torch.distributed as dist

rank, host, port, backend, timeout = int(sys.argv[1]), *sys.argv[2:5], float(sys.argv[5])
device = "cpu"
if backend == "nccl":
    device = f"cuda:{{rank % torch.cuda.device_count() if sys.argv[6] == 'one' else 0}}"
    torch.cuda.set_device(device)
limit = datetime.timedelta(seconds=timeout)
dist.init_process_group(
    backend, init_method=f"tcp://{{host}}:{{port}}", rank=rank, world_size=2, timeout=limit
)
x = torch.full(({NUM_FLOATS},), float(rank + 1), device=device)
dist.all_reduce(x.clone())
began = time.perf_counter()
dist.all_reduce(x)
total = float(x.sum())
print("SUM", total / {NUM_FLOATS}, time.perf_counter() - began, flush=True)
dist.destroy_process_group()
"""


def free_port(host: str) -> int:
    """A port of this node on which nobody listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def all_reduce(
    rank: int, host: str, port: int, backend: str, machines: str, timeout_s: float
) -> dict[str, Any]:
    """Take part in an all-reduce of two ranks.

    Args:
        rank: 0 or 1; 0 listens.
        host: Address at which rank 1 reaches rank 0.
        port: A free port there.
        backend: `gloo` or `nccl`.
        machines: `one` where both ranks are on one machine, else `two`.
        timeout_s: How long it may take.

    Returns:
        `sum`, which must be 3, and the `seconds` of one call; or the `error`.
    """
    words = [str(rank), host, str(port), backend, str(timeout_s), machines]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides them from whoever reserves none
    try:
        done = subprocess.run(
            [sys.executable, "-c", CODE, *words],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"rank {rank} does not come through in {timeout_s:.3g} s"}
    told = [line.split() for line in done.stdout.splitlines() if line.startswith("SUM ")]
    if done.returncode or not told:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if "Error" in line]
        return {"error": (errors or lines or ["it ended without a word"])[-1].strip()[:300]}
    return {"sum": float(told[0][1]), "seconds": float(told[0][2])}


def both(host: str, port: int, backend: str, machines: str, timeout_s: float) -> list[Any]:
    """Both ranks beside each other on this machine; what each says."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(all_reduce, rank, host, port, backend, machines, timeout_s)
            for rank in (0, 1)
        ]
        return [one.result() for one in asked]

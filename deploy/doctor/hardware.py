"""Processors, GPUs, memory and disks of a node: what there is against what Ray promises. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...platform.tables import format_bytes
from .row import FAIL, OK, SKIPPED, WARN, Finding

GB = 1_000_000_000
DISK_FAIL, DISK_WARN = GB, 5 * GB
# Docker gives a container 64 MB of it; Ray's object store of ours takes 200 MB.
SHM_FAIL, SHM_WARN = 100_000_000, 300_000_000
MEMORY_FAIL = GB
Promised = Mapping[str, float]


def judge_processors(found: Mapping[str, Any], promised: Promised | None) -> list[Finding]:
    """CPUs that there are, against what Ray promises to trials."""
    quota = found["quota"]
    usable = min(found["usable"], quota or math.inf)
    text = f"{found['cpus']} CPU" + (f", {usable:g} usable" if usable < found["cpus"] else "")
    if promised is None:
        remedy = "give the container a whole CPU at least"
        state = WARN if usable < 1 else OK
        return [Finding(state, text, remedy if state == WARN else "")]
    told = promised.get("CPU", 0)
    text += f", Ray promises {told:g}"
    if told > math.ceil(usable):
        remedy = f"start Ray there with --num-cpus={max(1, int(usable))}: trials would share cores"
        return [Finding(FAIL, text, remedy)]
    return [Finding(OK, text)]


def judge_graphics(found: Mapping[str, Any], promised: Promised | None) -> list[Finding]:
    """GPUs that the driver shows, that torch can use, and that Ray promises."""
    driver, torch, told = found["driver"], found["torch"], int((promised or {}).get("GPU", 0))
    text = f"driver {driver}, torch {torch}" + ("" if promised is None else f", Ray {told:g}")
    if found["error"]:
        return [Finding(FAIL, f"torch does not start: {found['error']}", "pip install torch anew")]
    if told > torch:
        remedy = f"start Ray there with --num-gpus={torch}: a trial would find no GPU"
        return [Finding(FAIL, f"GPUs: {text}", remedy)]
    if driver > torch:
        remedy = "install the build of torch for this driver (nvidia-smi shows its CUDA version)"
        built = found["build"] or "CPU only"
        return [Finding(FAIL, f"GPUs: {text} (torch is built for {built})", remedy)]
    if not driver and not torch:
        return [Finding(SKIPPED, "no GPU")]
    if promised is not None and told < torch:
        return [Finding(WARN, f"GPUs: {text}", f"start Ray there with --num-gpus={torch}")]
    return [Finding(OK, f"GPUs: {text}")]


def judge_memory(found: Mapping[str, Any], promised: Promised | None) -> list[Finding]:
    """Memory that there is, against what Ray promises."""
    limit = min(found["total"], found["limit"] or math.inf)
    text = f"{format_bytes(int(limit))}, {format_bytes(found['available'])} available"
    if found["limit"] and found["limit"] < found["total"]:
        text += " (limited by the control group)"
    told = (promised or {}).get("memory", 0) + (promised or {}).get("object_store_memory", 0)
    if told > limit:
        remedy = f"start Ray there with --memory={int(0.6 * limit)}: a trial would be killed"
        return [Finding(FAIL, f"{text}, Ray promises {format_bytes(int(told))}", remedy)]
    if min(limit, found["available"]) < MEMORY_FAIL:
        return [Finding(FAIL, text, "end what takes it (ps aux --sort -rss), or take more memory")]
    return [Finding(OK, text)]


def judge_disks(found: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Room on the disks of the folders that a run writes to."""
    findings = []
    for place, disk in found.items():
        if "error" in disk:
            remedy = "mount it, or name another folder"
            findings.append(Finding(FAIL, f"{place}: {disk['error']}", remedy))
            continue
        state = FAIL if disk["free"] < DISK_FAIL else WARN if disk["free"] < DISK_WARN else OK
        text = f"{place}: {format_bytes(disk['free'])} of {format_bytes(disk['total'])} free"
        remedy = "make room (paceline clean), or another --storage, PACELINE_HOME or TMPDIR"
        findings.append(Finding(state, text, "" if state == OK else remedy))
    return findings


def judge_shared_memory(found: Mapping[str, Any]) -> list[Finding]:
    """Room in `/dev/shm`, where Ray keeps objects and torch the batches of loader processes."""
    if "error" in found:
        return [Finding(FAIL, f"/dev/shm: {found['error']}", "mount -t tmpfs tmpfs /dev/shm")]
    free, total = found["free"], found["total"]
    state = FAIL if free < SHM_FAIL else WARN if free < SHM_WARN else OK
    text = f"/dev/shm: {format_bytes(free)} of {format_bytes(total)} free"
    small = "give it more: docker run --shm-size=2g, or mount -o remount,size=2g /dev/shm"
    full = "remove what dead processes left: ls -l /dev/shm"
    remedy = small if total < SHM_WARN else full
    return [Finding(state, text, "" if state == OK else remedy)]


def judge_clocks(offsets: Mapping[str, tuple[float, float]]) -> dict[str, list[Finding]]:
    """Clocks of nodes and servers against the one here.

    Args:
        offsets: Who -> seconds by which its clock is ahead, and how uncertain that is.
    """
    found = {}
    for who, (ahead, uncertain) in offsets.items():
        surely = max(0.0, abs(ahead) - uncertain)
        state = FAIL if surely > CLOCK_FAIL_S else WARN if surely > CLOCK_WARN_S else OK
        text = f"{ahead:+.1f} s (+- {uncertain:.1f})" if state != OK else "in step"
        remedy = "" if state == OK else "set the clocks by NTP: timedatectl set-ntp true"
        found[who] = [Finding(state, text, remedy)]
    return found


# S3 refuses requests that are 15 minutes off; metrics of one run lie in the wrong order before.
CLOCK_FAIL_S, CLOCK_WARN_S = 10.0, 2.0

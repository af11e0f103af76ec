"""The cluster's processes: started with a mark in their environment, and found by it.

A number of a process may belong to somebody else by the time that `down` reads it, and Ray's
daemons outlive the command that starts them. So no number is kept. Each process carries the
cluster's random identity in its environment and hands it on to all it starts. Ray's workers write
over theirs when they change their title; they are found through their session and their parents.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

from ...platform.errors import RunError
from .cluster import LocalCluster

MARK, PART = "PACELINE_CLUSTER_ID", "PACELINE_CLUSTER_PART"
# A cluster must not know the user's other servers, nor hold keys to them.
_FOREIGN = ("MLFLOW_", "AWS_", "PG", "RAY_AUTH_", "RAY_JOB_", "_MLFLOW_")
_FOREIGN_NAMES = {"RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_TMPDIR", MARK, PART}

_CHILDREN: list[subprocess.Popen[Any]] = []  # that this process has to ask how they ended


def start(
    cluster: LocalCluster,
    part: str,
    command: list[str],
    environment: dict[str, str],
    log: Path,
    **more: Any,
) -> subprocess.Popen[Any]:
    """Start a process in a session of its own, which no terminal's Ctrl-C reaches.

    Args:
        cluster: The cluster.
        part: The part of it.
        command: Words; none may be secret, as all of the machine can read them.
        environment: What it gets beside this process's own.
        log: File for what it says.
        more: As `subprocess.Popen` takes it.
    """
    given = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    given = {k: v for k, v in given.items() if k not in _FOREIGN_NAMES}
    temporary = Path(cluster.runtime) / "tmp"  # what is ended may leave something there
    temporary.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            command,
            env={**given, **environment, "TMPDIR": str(temporary), MARK: cluster.id, PART: part},
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
            **more,
        )
    finally:
        os.close(handle)
    _CHILDREN.append(process)
    return process


def wait_until(
    holds: Callable[[], bool],
    what: str,
    process: subprocess.Popen[Any],
    log: Path,
    limit_s: float,
) -> None:
    """Wait until a part that was started does its work.

    Raises:
        RunError: It ended, or did not come to it in time; with the end of its log.
    """
    deadline = time.monotonic() + limit_s
    while not holds():
        if process.poll() is not None:
            raise failed(f"{what} ended with code {process.returncode} at its start.", log)
        if time.monotonic() > deadline:
            raise failed(f"{what} must answer within {limit_s:.0f} s, but does not.", log)
        time.sleep(0.1)


def failed(what: str, log: Path) -> RunError:
    """A start that failed, with what it said last."""
    said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    said = [line for line in said if set(line) - set(" ^~")]  # a traceback's marks
    return RunError(what, "it said: " + " | ".join(said[-3:])[-600:])


def of_cluster(identity: str) -> dict[psutil.Process, str]:
    """All living processes of a cluster, each with its part; never this one or its parents."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(MARK) == identity:
                found[process] = environment.get(PART, "")
    sessions = {_session(p): part for p, part in found.items()}
    for process in psutil.process_iter():
        session = _session(process)
        if session in sessions and session not in (0, os.getsid(0)):
            found.setdefault(process, sessions[session])
    for process, part in list(found.items()):
        with contextlib.suppress(psutil.Error):
            for child in process.children(recursive=True):
                found.setdefault(child, part)
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return {p: part for p, part in found.items() if p.pid not in ours and _is_alive(p)}


def _session(process: psutil.Process) -> int:
    """The session of a process; no number of one is given anew while a member lives."""
    try:
        return os.getsid(process.pid)
    except OSError:
        return 0


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def end(
    identity: str, parts: Callable[[str], bool], signum: int = signal.SIGTERM, grace_s: float = 10.0
) -> int:
    """End the processes of some parts, and wait until none is left.

    Args:
        identity: The cluster's.
        parts: Which parts.
        signum: What they are asked with; SIGKILL is not asking.
        grace_s: How long they may take, in s; then they are killed.

    Returns:
        How many there were.

    Raises:
        RunError: Some could not be killed.
    """
    ended, asked_until = set[psutil.Process](), time.monotonic() + grace_s
    deadline = asked_until + 20
    while living := [p for p, part in of_cluster(identity).items() if parts(part)]:
        if time.monotonic() > deadline:
            names = ", ".join(f"{p.pid}" for p in living)
            raise RunError("The cluster's processes must end, but some stay.", names)
        late = time.monotonic() > asked_until
        _signal(living if late else [p for p in living if p not in ended], signum, late)
        ended.update(living)
        psutil.wait_procs(living, timeout=0.5)
    _CHILDREN[:] = [process for process in _CHILDREN if process.poll() is None]
    return len(ended)


def _signal(processes: Iterable[psutil.Process], signum: int, late: bool) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGKILL if late else signum)

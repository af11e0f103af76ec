"""A job is put together and handed to the cluster.

What it brings along: the folder, Paceline itself, and a handful of variables. Everybody with the
cluster's token can read all of it, and Ray writes it into its logs, so no secret is among them:
tokens, passwords and keys are in the environment of the cluster's nodes, whose jobs inherit it.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...platform.errors import PacelineError, RunError, UserError
from ...platform.home import home
from ...platform.run_context import JOB
from .cargo import Cargo
from .cluster import JobCluster, Jobs, asked
from .job import free_id, list_jobs
from .package import write_package

# A sweep that is stopped writes checkpoints and gives every run its end; Ray would kill it after 3.
STOP_WAIT_S = 120
AGENT_WAIT_S = 60.0  # a head answers some seconds before its nodes take jobs


@dataclass(frozen=True)
class Order:
    """What is to run as a job.

    Args:
        name: Of its run or sweep; its id begins with it.
        command: The words behind `python -m`.
        cargo: The folder that it works in.
        metadata: What is to be known of it later.
        variables: For its environment; none of them is secret.
        num_cpus: CPU cores that the command itself reserves; 0: it only drives others.
        num_gpus: GPUs likewise.
        python: The interpreter on the cluster; None: this one on a cluster of this machine's,
            `python` elsewhere.
    """

    name: str
    command: Sequence[str]
    cargo: Cargo
    metadata: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    num_cpus: float = 0.0
    num_gpus: float = 0.0
    python: str | None = None


class NameTaken(UserError):
    """Somebody submitted a job of the same name at the same moment."""


def submit(client: Jobs, order: Order) -> str:
    """Send what the job needs that the cluster has not, and let it begin.

    Returns:
        Its id.

    Raises:
        NameTaken: A job of that id was submitted at the same moment.
        RunError: The cluster refused.
    """
    job_id = free_id(list_jobs(client), order.name)
    with tempfile.TemporaryDirectory(prefix="paceline-job-") as folder:
        runtime_env = {
            "working_dir": _sent(client, order.cargo.write, Path(folder, "work.zip")),
            "py_modules": [_sent(client, write_package, Path(folder, "paceline.zip"))],
            "env_vars": variables(client.cluster, job_id, order.variables),
        }
    began = time.monotonic()
    while True:
        try:
            return client.submit_job(
                entrypoint=entrypoint(client.cluster, order),
                submission_id=job_id,
                runtime_env=runtime_env,
                metadata=dict(order.metadata),
                entrypoint_num_cpus=order.num_cpus or None,
                entrypoint_num_gpus=order.num_gpus or None,
            )
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() - began > AGENT_WAIT_S:
                raise _refusal(client, job_id, error) from error
        time.sleep(1)


def _refusal(client: Jobs, job_id: str, error: RuntimeError) -> PacelineError:
    if "already" in str(error):
        what = f"`--name` must be a new name, but {job_id!r} was submitted at the same moment."
        return NameTaken(what, client.cluster.url, "another --name")
    return RunError("The cluster refused the job.", _last_line(error))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:500] if lines else type(error).__name__


def _sent(client: Jobs, write: Any, path: Path) -> str:
    """The cluster's address of an archive, which is uploaded unless the same one is there."""
    write(path)
    upload = client._upload_package_if_needed
    return asked(lambda: upload(str(path), include_gitignore=False, is_file=True))


def entrypoint(cluster: JobCluster, order: Order) -> str:
    """The shell's command of a job. `exec` leaves Ray one process to signal, the command itself."""
    python = order.python or (sys.executable if cluster.profile else "python")
    return f"exec {shlex.join([python, '-m', *order.command])}"


def variables(cluster: JobCluster, job_id: str, more: Mapping[str, str]) -> dict[str, str]:
    """What a job and all that it starts have in their environment, beside the nodes' own."""
    from ...platform.tracking.tags import user_name  # it imports MLflow

    found = {
        JOB: job_id,
        "LOGNAME": user_name(),  # the record says who submitted it, not whom the cluster runs as
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
    }
    if cluster.profile is not None:  # of this machine: `paceline show NAME` finds what it makes
        found["PACELINE_HOME"] = str(home())
        if data := os.environ.get("PACELINE_DATA"):
            found["PACELINE_DATA"] = str(Path(data).expanduser().absolute())
    return {**found, **more}

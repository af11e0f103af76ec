"""A job as Ray knows it, and the names under which it is found.

The job of a run or sweep has that one's name, so Ray itself refuses a second one that is submitted
at the same moment; a later job of the same name counts on: `NAME.2`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...platform.errors import UserError, must, unknown
from .cluster import Jobs, asked

NAME, VERB, COMMAND = "paceline.name", "paceline.verb", "paceline.command"
STORAGE, RUN_ID, TRACKING = "paceline.storage", "paceline.run_id", "paceline.tracking_uri"
WAITING, RUNNING = "PENDING", "RUNNING"
ENDED = {"SUCCEEDED": "succeeded", "FAILED": "failed", "STOPPED": "stopped"}
WRONG_INPUT = 2  # the exit code of a command that has started nothing
TERMINATED = 128 + 15


@dataclass(frozen=True)
class Job:
    """A job, as the cluster tells of it.

    Args:
        id: Ray's submission id.
        status: Ray's word for how it stands.
        metadata: What it was submitted with.
        code: Exit code of its command; None: it has none yet, or was ended from outside.
        message: What Ray says of it.
        has_begun: Whether its command was started.
        started_ms: When it was submitted, Unix time in ms.
    """

    id: str
    status: str
    metadata: dict[str, str]
    code: int | None
    message: str
    has_begun: bool
    started_ms: int

    @property
    def name(self) -> str:
        """Name of its run or sweep; empty where it is none of ours."""
        return self.metadata.get(NAME, "")

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDED

    @property
    def exit_code(self) -> int:
        """What the command inside answered, as a shell would tell it."""
        if self.code is not None:
            return self.code if self.code >= 0 else 128 - self.code
        if self.status == "STOPPED":
            return TERMINATED
        return 0 if self.status == "SUCCEEDED" else 1

    @property
    def started_nothing(self) -> bool:
        """Whether it has ended and left no run behind."""
        return self.is_over and (not self.has_begun or self.code == WRONG_INPUT)


def job_of(details: Any) -> Job:
    """A job out of what Ray's client answers."""
    return Job(
        id=details.submission_id or "",
        status=str(getattr(details.status, "value", details.status)),
        metadata=details.metadata or {},
        code=details.driver_exit_code,
        message=details.message or "",
        has_begun=details.driver_agent_http_address is not None,
        started_ms=details.start_time or 0,
    )


def read_job(client: Jobs, job_id: str) -> Job:
    """How a job stands now."""
    return job_of(asked(client.get_job_info, job_id))


def list_jobs(client: Jobs) -> list[Job]:
    """All jobs that were submitted to the cluster since it began, oldest first."""
    jobs = [job_of(details) for details in asked(client.list_jobs)]
    return sorted((job for job in jobs if job.id), key=lambda job: job.started_ms)


def what_runs(client: Jobs) -> list[str]:
    """What runs on the cluster: ids of jobs, and programs that work on it from outside."""
    living = [d for d in asked(client.list_jobs) if job_of(d).status not in ENDED]
    return [d.submission_id or f"a program ({d.entrypoint[:80]})" for d in living]


def find_job(jobs: Sequence[Job], word: str) -> Job:
    """The job of an id, or the newest of a run's or sweep's name.

    Raises:
        UserError: There is none; the nearest are named.
    """
    found = [job for job in jobs if word in (job.id, job.name)]
    if not found:
        raise unknown("JOB", word, {job.id for job in jobs} | {j.name for j in jobs if j.name})
    running = [job for job in found if not job.is_over]
    return (running or [job for job in found if job.id == word] or found)[-1]


def check_name(jobs: Iterable[Job], name: str, *, starts: bool) -> None:
    """Refuse a name that a running job works on, or that a new run would take from an older one.

    Args:
        jobs: Those of the cluster.
        name: The run's or sweep's.
        starts: Whether it is to be new.

    Raises:
        UserError: It is.
    """
    same = [job for job in jobs if job.name == name]
    for job in same:
        if not job.is_over:
            rule = "a name that no running job works on"
            remedy = f"paceline cancel {job.id}, or another --name"
            raise UserError(must("--name", rule, name), f"job {job.id}", remedy)
    before = [job for job in same if not job.started_nothing]
    if starts and before:
        remedy = f"another --name, or go on with it: paceline submit resume {name}"
        raise UserError(must("--name", "a new name", name), f"job {before[-1].id}", remedy)


def free_id(jobs: Iterable[Job], name: str) -> str:
    """The first id of a name that no job had: `NAME`, `NAME.2`, ..."""
    taken = {job.id for job in jobs}
    number = 1
    while (found := name if number == 1 else f"{name}.{number}") in taken:
        number += 1
    return found

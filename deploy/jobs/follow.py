"""A job as one follows it: its output as it comes, its end, and Ctrl-C, which ends it in order."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from ...platform.deferred_signals import DeferredSignals
from ...platform.errors import PacelineError, RunError
from ...platform.signals import Interrupted
from .cluster import Jobs, asked, lost
from .job import WAITING, Job, read_job

POLL_S = 0.25
LOOK_S = 2.0  # from one question how a silent job stands to the next
PATIENCE_S = 60.0  # how long a cluster may be silent while its job is followed
TELL_WAITING_S = 10.0
TELL_SILENT_S = 5.0
Tell = Callable[[str], None]


def write_out(text: str) -> None:
    """Hand a job's output on as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def tell(line: str) -> None:
    """Say something beside a job's own output."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class _Forgotten(RunError):
    """The job is none of the cluster's any more."""


@dataclass
class Follower:
    """Follows one job to its end.

    Args:
        client: The cluster's.
        job_id: The job.
        write: Takes its output.
        tell: Takes what is to be said beside it, a line each.
    """

    client: Jobs
    job_id: str
    write: Callable[[str], None] = write_out
    tell: Tell = lambda line: None
    _lines: queue.Queue[str | None] = field(default_factory=queue.Queue)
    _submitted_ms: int = 0  # when this job was, as ids are taken again by a head that forgot
    _seen: int = 0  # characters of the output that have come
    _error: PacelineError | None = None

    def follow(self) -> Job:
        """Wait until it has ended, and show what it writes.

        Returns:
            How it ended.

        Raises:
            Interrupted: Ctrl-C or SIGTERM came, and the job was ended; at the second one, it was
                only told to.
            RunError: The cluster has not answered for a minute.
        """
        self._submitted_ms = read_job(self.client, self.job_id).started_ms
        threading.Thread(target=self._tail, name="paceline-job", daemon=True).start()
        try:
            with DeferredSignals() as signals:
                return self._until_over(signals.check)
        except Interrupted as interruption:
            self._cancel(interruption)
            raise

    def _cancel(self, interruption: Interrupted) -> None:
        self._read()
        self.tell(f"Ending the job {self.job_id} in order; once more leaves at once.")
        asked(self.client.stop_job, self.job_id)
        try:
            with DeferredSignals() as signals:
                job = self._until_over(signals.check)
        except Interrupted:
            self.tell(f"Left. The job {self.job_id} was told to end and will.")
            raise interruption from None
        interruption.job = job  # type: ignore[attr-defined]

    def _read(self) -> Job:
        """How it stands now.

        Raises:
            RunError: The cluster has forgotten it, and another job may have its id.
        """
        job = read_job(self.client, self.job_id)
        if job.started_ms != self._submitted_ms:
            what = f"The job {self.job_id} is gone: the cluster's head began anew and forgot it."
            again = f"paceline submit resume {job.name}" if job.name else "submit it again"
            raise _Forgotten(what, self.client.cluster.url, again)
        return job

    def _until_over(self, check: Callable[[], None]) -> Job:
        looked_at = began = time.monotonic()
        has_told = False
        while True:
            check()
            try:
                text = self._lines.get(timeout=POLL_S)
            except queue.Empty:
                if time.monotonic() - looked_at < LOOK_S or self._seen:
                    continue
                looked_at = time.monotonic()
                if not has_told and looked_at - began > TELL_WAITING_S:
                    has_told = self._tell_waiting()
                continue
            if text is None:
                break
            self.write(text)
        if self._error is not None:
            raise self._error
        job = wait_over(self.client, self.job_id, PATIENCE_S)
        if not self._seen and job.has_begun:
            self.tell("The output of the job cannot be had: its node's agent does not answer.")
        return job

    def _tell_waiting(self) -> bool:
        job = read_job(self.client, self.job_id)
        if job.status == WAITING:
            self.tell(f"The job waits for the cluster: {job.message or 'it has not begun'}")
        return job.status == WAITING

    def _tail(self) -> None:
        """In a thread: the output as it comes, to its end, or to what became of it."""
        try:
            self._tail_through_breaks()
        except PacelineError as error:
            self._error = error
        except Exception as error:  # whoever waits for the lines must hear of it
            what = f"The output of the job cannot be read: {type(error).__name__}: {error}"
            self._error = RunError(what, self.job_id, f"paceline submit follow {self.job_id}")
        finally:
            self._lines.put(None)

    def _tail_through_breaks(self) -> None:
        silent_since, has_told = time.monotonic(), False
        while True:
            before = self._seen
            try:
                self._read()
                asyncio.run(self._tail_once())
                if self._read().is_over:
                    return
            except _Forgotten:
                raise
            except (RuntimeError, OSError, aiohttp.ClientError, RunError) as error:
                if self._seen > before:
                    silent_since = time.monotonic()
                if not has_told and time.monotonic() - silent_since > TELL_SILENT_S:
                    has_told = True
                    self.tell(f"{self.client.cluster.url} does not answer; waiting for it")
                if time.monotonic() - silent_since > PATIENCE_S:
                    reason = (str(error) or type(error).__name__).splitlines()[0]
                    raise lost(self.client.cluster.url, reason) from None
            time.sleep(1)

    async def _tail_once(self) -> None:
        """Read the output from its begin, which is where Ray begins, and pass on what is new."""
        read = 0
        async for text in self.client.tail_job_logs(self.job_id):
            new = text[max(0, self._seen - read) :]
            read += len(text)
            if new:
                self._seen = read
                self._lines.put(new)


def wait_over(
    client: Jobs, job_id: str, timeout_s: float, check: Callable[[], None] = lambda: None
) -> Job:
    """Wait until a job has ended.

    Args:
        client: The cluster's.
        job_id: The job.
        timeout_s: For how long, in s.
        check: Called at each turn; what it raises ends the waiting.

    Raises:
        RunError: It has not in time.
    """
    began = time.monotonic()
    while True:
        check()
        job = read_job(client, job_id)
        if job.is_over:
            return job
        if time.monotonic() - began > timeout_s:
            raise RunError(
                f"`{job_id}` must end within {timeout_s:g} s, but is {job.status.lower()}.",
                client.cluster.url,
                "wait for it: paceline cancel JOB --timeout 600",
            )
        time.sleep(POLL_S)

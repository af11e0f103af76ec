"""A project that was submitted as a Ray job, as MLflow asks about it."""

from __future__ import annotations

from mlflow.entities import RunStatus
from mlflow.exceptions import ExecutionException
from mlflow.projects.submitted_run import SubmittedRun
from mlflow.tracking import MlflowClient

from ...platform.signals import Interrupted
from ..jobs.cluster import Jobs, asked
from ..jobs.follow import Follower, tell, wait_over
from ..jobs.job import Job, read_job
from ..jobs.submission import STOP_WAIT_S

STATUS_OF = {
    "PENDING": RunStatus.SCHEDULED,
    "RUNNING": RunStatus.RUNNING,
    "SUCCEEDED": RunStatus.FINISHED,
    "FAILED": RunStatus.FAILED,
    "STOPPED": RunStatus.KILLED,
}


class SubmittedJob(SubmittedRun):
    """The job of one run.

    Args:
        client: The cluster's.
        job_id: The job.
        run_id: MLflow's run.
    """

    def __init__(self, client: Jobs, job_id: str, run_id: str):
        super().__init__()
        self.client, self.job_id, self._run_id = client, job_id, run_id

    # MLflow declares no types for what it expects of a plugin.
    @property
    def run_id(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The id of MLflow's run."""
        return self._run_id

    def wait(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Show what the job writes until it has ended; whether it succeeded.

        Raises:
            KeyboardInterrupt: Ctrl-C, after which the job has ended and its run is KILLED.
        """
        try:
            job = Follower(self.client, self.job_id, tell=tell).follow()
        except Interrupted:
            end_run(self._run_id, "KILLED")
            raise KeyboardInterrupt from None
        self._end(job)
        return job.status == "SUCCEEDED"

    def follow(self) -> None:
        """Wait for the job as MLflow does for a local one.

        Raises:
            ExecutionException: It failed or was stopped.
        """
        if not self.wait():
            raise ExecutionException(f"Run (ID '{self._run_id}') failed")

    def get_status(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """MLflow's word for how the job stands."""
        return RunStatus.to_string(STATUS_OF[read_job(self.client, self.job_id).status])

    def cancel(self) -> None:
        """End the job in order, and wait until it has; its run is KILLED."""
        if not read_job(self.client, self.job_id).is_over:
            asked(self.client.stop_job, self.job_id)
        self._end(wait_over(self.client, self.job_id, STOP_WAIT_S + 60))

    def _end(self, job: Job) -> None:
        """Give the run the end that its job could not, whose node may have died with it."""
        if job.status != "SUCCEEDED":
            end_run(self._run_id, RunStatus.to_string(STATUS_OF[job.status]))


def end_run(run_id: str, status: str) -> None:
    """End an MLflow run that has no end yet; one that was killed may think that it failed."""
    client = MlflowClient()
    now = client.get_run(run_id).info.status
    is_open = not RunStatus.is_terminated(RunStatus.from_string(now))
    if is_open or (status == "KILLED" and now == "FAILED"):
        client.set_terminated(run_id, status)

"""What runs on the cluster for `mlflow run --backend paceline`: MLflow's own command, and its end.

MLflow gives a run its end when the entry point has ended, but not when it is itself ended by a
signal, as a job that is cancelled is, or killed for the memory it took. This process outlives it:
    python -m paceline.deploy.mlflow_plugins.project_job RUN_ID ARGUMENTS OF MLFLOW RUN
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

GRACE_S = 60.0  # what the entry point gets to write what it has


def main(argv: list[str]) -> int:
    """Run a project in the folder at hand.

    Args:
        argv: The run's id, then what `mlflow run .` is given.

    Returns:
        The exit code of the job.
    """
    run_id, *words = argv
    stopped: list[int] = []
    command = [sys.executable, "-m", "mlflow", "run", ".", "--run-id", run_id, *words]
    # A session of its own: whatever the entry point starts is ended with it.
    child = subprocess.Popen(command, start_new_session=True)

    def stop(signum: int, frame: object) -> None:
        stopped.append(signum)
        _signal(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    code = _wait(child, stopped)
    _close(run_id, "KILLED" if stopped else "FAILED" if code else None)
    return 128 + stopped[0] if stopped else code if code >= 0 else 128 - code


def _wait(child: subprocess.Popen[bytes], stopped: list[int]) -> int:
    """Wait for the project; after a signal only for a while."""
    while True:
        try:
            code = child.wait(timeout=GRACE_S if stopped else 1.0)
        except subprocess.TimeoutExpired:
            if stopped:
                _signal(child, signal.SIGKILL)
            continue
        _signal(child, signal.SIGKILL)  # what it has started and left behind
        return code


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _close(run_id: str, status: str | None) -> None:
    """Give the run its end where MLflow could not, and say what it was run by: not by `local`."""
    from mlflow.tracking import MlflowClient  # it takes its time to import
    from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_BACKEND

    from .submitted import end_run

    MlflowClient().set_tag(run_id, MLFLOW_PROJECT_BACKEND, "paceline")
    if status is not None:
        end_run(run_id, status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

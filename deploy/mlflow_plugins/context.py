"""Tags for any MLflow run that is started inside our jobs, runs and trials.

A model's own code may call `mlflow.start_run()`; its run then says which sweep, trial, rank, node
and Ray job it was made in. MLflow loads this in every process, so it reads the environment alone,
imports nothing of weight, and never raises.
"""

from __future__ import annotations

import os
import socket

# Tag -> the variables that it is read from, the first that is set. What Lightning, torchrun and Ray
# set counts where one of ours says that the process is ours.
_OURS = {
    "paceline.job": ("PACELINE_JOB",),
    "paceline.sweep": ("PACELINE_SWEEP",),
    "paceline.trial": ("PACELINE_TRIAL",),
    "paceline.run": ("PACELINE_RUN",),
    "paceline.run_id": ("PACELINE_RUN_ID",),
}
_BESIDE = {
    "paceline.rank": ("PACELINE_RANK", "RANK", "LOCAL_RANK"),
    "paceline.ray_job_id": ("RAY_JOB_ID",),
}
MAX_CHARS = 500


class JobContext:
    """Says where a run was started.

    It has what MLflow asks of its `RunContextProvider` and is none: MLflow imports this module in
    the midst of its own import, and importing MLflow here would be a circle.
    """

    def in_context(self) -> bool:
        """Whether this process belongs to one of our jobs, runs or trials."""
        return any(os.environ.get(name) for names in _OURS.values() for name in names)

    def tags(self) -> dict[str, str]:
        """What is known of where the process stands."""
        found = {tag: _first(names) for tag, names in {**_OURS, **_BESIDE}.items()}
        found["paceline.node"] = _node()
        return {tag: value[:MAX_CHARS] for tag, value in found.items() if value}


def _first(names: tuple[str, ...]) -> str:
    return next(filter(None, map(os.environ.get, names)), "")


def _node() -> str:
    try:
        return socket.gethostname()
    except OSError:
        return ""

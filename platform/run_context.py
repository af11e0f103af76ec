"""What a process that trains is part of, told in its environment: run, sweep, trial, rank.

Code that a model brings along may ask for it, and MLflow's plugin does (`deploy.mlflow_plugins`).
Processes of one machine inherit it; workers elsewhere are told by whoever drives them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

PREFIX = "PACELINE_"
RUN, RUN_ID, SWEEP, TRIAL, RANK = (
    f"{PREFIX}{name}" for name in ("RUN", "RUN_ID", "SWEEP", "TRIAL", "RANK")
)
# The job of a cluster, as Ray's Jobs name it; all processes of the job inherit it.
JOB = f"{PREFIX}JOB"


@contextlib.contextmanager
def told(**facts: object) -> Iterator[None]:
    """Tell this process, and those it starts, what they are part of until the end.

    Args:
        **facts: `run`, `run_id`, `sweep`, `trial`, `rank`.
    """
    with in_environment({f"{PREFIX}{name.upper()}": str(v) for name, v in facts.items()}):
        yield


@contextlib.contextmanager
def in_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Have variables in this process's environment, and what was there before again at the end.

    Args:
        values: Name -> value.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def known() -> dict[str, str]:
    """What this process was told, as the arguments that `told` takes elsewhere."""
    found = {name: os.environ.get(name) for name in (RUN, RUN_ID, SWEEP, TRIAL)}
    return {name.removeprefix(PREFIX).lower(): value for name, value in found.items() if value}

"""What a process that trains is part of, told in its environment: run, sweep, trial, rank.

Code that a model brings along may ask for it, and MLflow's plugin does (`deploy.mlflow_plugins`).
Processes of one machine inherit it; workers elsewhere are told by whoever drives them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

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
    names = {f"{PREFIX}{name.upper()}": str(value) for name, value in facts.items()}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
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

"""A configuration of a sweep trained again with a seed: once, whoever asks for it.

The sweep trains its winner so, and a promotion the two best. What is done already is read, and what
was interrupted is gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..platform.configuration.config import Config, load
from ..platform.errors import UserError
from ..platform.home import read_state, run_folder
from ..platform.resume_run import resume_run
from ..platform.runs import fit_config

# Where a run happens and how it is recorded and searched does not make it another run.
_NOT_THE_MODEL = ("launch", "tracking", "sweep")
_MAX_SWEEP_CHARS = 70  # of a sweep's name in that of a run, which may have 100


def run_name(sweep: str, trial_id: str, seed: int) -> str:
    """Name of the run in which a trial's configuration is trained with a seed."""
    return f"{sweep[:_MAX_SWEEP_CHARS]}-{trial_id}-seed{seed}"


def train_again(
    config: Config,
    name: str,
    parent: str,
    *,
    command: str = "",
    report: Callable[[str, str], None] = lambda name, what: None,
) -> dict[str, Any]:
    """The state of a finished run: trained now, gone on with, or read.

    Args:
        config: The configuration, with its seed.
        name: From `run_name`.
        parent: Run id under which it stands where it begins.
        command: The command line, for its notes.
        report: Told of the run: its name, and what happens to it.

    Raises:
        UserError: A run of that name has another config.
        PacelineError: It fails.
    """
    storage = config.launch.storage
    folder = run_folder(name, storage)
    if not (folder / "run.json").exists():
        report(name, "trains")
        fit_config(config, name=name, parent=parent, command=command)
        return read_state(name, storage)
    if _what_counts(load(str(folder / "config.yaml"))) != _what_counts(config):
        what = f"`{name}` must be a run of this configuration, but has another config."
        raise UserError(what, str(folder), f"move it away: mv {folder} {folder}.other")
    state = read_state(name, storage)
    if state["status"] != "finished":
        report(name, "goes on")
        resume_run(name, storage, command=command)
        return read_state(name, storage)
    report(name, "is done already")
    return state


def _what_counts(config: Config) -> str:
    """What two configs share that train the same model in the same way."""
    kept = {key: value for key, value in config.resolved.items() if key not in _NOT_THE_MODEL}
    return json.dumps(kept, sort_keys=True, default=str)

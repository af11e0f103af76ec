"""One trial inside a reused Ray actor: a function called with a dict.

The actor's process lives on between trials, so imports, the config's parser and the data set's
tensors are paid for once. An exception of the model's is reported like a result and ends nothing
but its trial: Tune would answer a raised one by killing the actor, and the next trial would wait
for a new one to import everything again.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..platform.catalog import entries
from ..platform.configuration.config import Config
from ..platform.configuration.keys import CLASS_SECTIONS, get_key, short_key
from ..platform.errors import TRACEBACK, PacelineError
from ..platform.run_context import told
from ..platform.storage.location import place_of
from . import ray_settings as ray_settings
from .one_process import OneProcess
from .population.copies import become_copy
from .population.rung_files import keep
from .reporter import Report
from .trial_folder import folder_of, logged, names_of, only_writer, remove_leftovers
from .trial_plan import TrialPlan

from ray.train._internal.session import get_session  # isort: skip - after `ray_settings`

if TYPE_CHECKING:
    from .many_workers import ManyWorkers

logger = logging.getLogger("paceline.tuning")
END_S = 60.0  # what a stopped trial may take to write what it has


def run_trial(suggestion: dict[str, Any], plan: TrialPlan, report: Report) -> None:
    """Train one configuration; reports go to the sweep, metrics into the trial's MLflow run.

    Args:
        suggestion: What `Monitor.begin` gave: `number`, `run_id`, the config's `assignments`, the
            trial's `rungs`, its `attempt` from 1, whether it `is_again` that began before, the
            seconds `spent` until now, whose `copy` it is, the `curves` of its knobs, by how
            much its record's steps are ahead (`step_offset`), and where it was stopped, if it only
            comes there again (`stops_at`).
        plan: What all trials share.
        report: Sends a result to the sweep.

    Raises:
        SystemExit: The sweep stopped this trial.
    """
    number = suggestion["number"]
    folder = folder_of(Path(plan.folder), number)
    _outlive_the_stop()
    sys.path += [place for place in plan.path if place not in sys.path]
    training = _training(suggestion, plan, report, folder)
    trial = folder.name
    context = told(
        sweep=plan.name, trial=trial, run=f"{plan.name}-{trial}", run_id=suggestion["run_id"]
    )
    with only_writer(folder), logged(folder, suggestion["attempt"]), context:
        end = _end_of(suggestion, plan, training, folder)
    if training.is_stopped:
        sys.exit(0)  # nobody waits for another report of this trial
    report({"number": number, "reports": training.unsent(), "end": end})


def _training(
    suggestion: Mapping[str, Any], plan: TrialPlan, report: Report, folder: Path
) -> OneProcess | ManyWorkers:
    """What trains the trial: this process, or workers of its own."""
    arguments = {
        "number": suggestion["number"],
        "metric": plan.metric,
        "rungs": suggestion["rungs"],
        "time_axis": plan.time_axis,
        "deadline": plan.ends_at(suggestion["spent"]),
        "is_exact": plan.is_exact,
        "watches_loss": plan.watches_loss,
        "stops_at": suggestion["stops_at"],
        "keep_rungs": partial(keep, folder) if plan.is_population else None,
    }
    if not plan.has_many_workers:
        return OneProcess(report, arguments, plan.has_pictures)
    from .many_workers import ManyWorkers  # Ray Train takes its time to import

    return ManyWorkers(report, arguments, plan.has_pictures)


def _outlive_the_stop() -> None:
    """Let a trial that was stopped write its checkpoint and its last points.

    Ray waits for a trial's thread when its actor goes on to another, but not when it is removed.
    """
    session = get_session()
    if session is None or hasattr(session, "waits_for_its_end"):
        return
    plain = session.finish
    session.finish = lambda timeout=None: plain(timeout or END_S)  # type: ignore[method-assign]
    session.waits_for_its_end = True  # type: ignore[attr-defined] - one session serves many trials


def _end_of(
    suggestion: Mapping[str, Any],
    plan: TrialPlan,
    training: OneProcess | ManyWorkers,
    folder: Path,
) -> dict[str, Any]:
    """How a trial ended, an exception of the model's included."""
    try:
        return _train(suggestion, plan, training, folder)
    except Exception as error:
        end = {"status": "failed", "error": _told(error, folder), "fatal": training.fatal}
        remove_leftovers(folder)
        logger.warning("Run %s failed: %s", suggestion["run_id"], end["error"])
        return end


def _told(error: Exception, folder: Path) -> str:
    """The traceback of what a trial raised; its last line names the exception."""
    line = str(error).strip().partition("\n")[0]
    if not isinstance(error, PacelineError):
        line = f"{type(error).__name__}: {line}".removesuffix(": ")
    theirs = folder / TRACEBACK  # a worker's own, which is nearer to the cause
    trace = theirs.read_text() if theirs.exists() else "".join(traceback.format_exception(error))
    trace = trace.rstrip()
    return trace if trace.endswith(line) else f"{trace}\n{line}"


def _train(
    suggestion: Mapping[str, Any],
    plan: TrialPlan,
    training: OneProcess | ManyWorkers,
    folder: Path,
) -> dict[str, Any]:
    if plan.deadline is not None and time.time() > plan.deadline:
        return {"status": "killed", "stop_reason": "budget", "detail": "the sweep's time was up"}
    base = Config.from_dict(plan.config)
    config = base.override(suggestion["assignments"])
    if copy := suggestion["copy"]:
        donor = folder_of(Path(plan.folder), copy["donor"])
        become_copy(config, copy, folder, donor, training.state_key)
    curves = {name: suggestion[name] for name in ("curves", "step_offset")}
    stop_reason = training.train(
        config,
        curves=curves if plan.is_population else None,
        store_uri=plan.store_uri,
        run_id=suggestion["run_id"],
        folder=folder,
        place=place_of(plan.storage, plan.name, *names_of(suggestion["number"])),
        name=f"{plan.name}-{suggestion['number']:03d}",
        command=command_of(base, suggestion["assignments"]),
        is_again=suggestion["is_again"],
    )
    end = {"status": "finished", "stop_reason": stop_reason, "facts": training.facts}
    if training.is_late:
        end |= {"stop_reason": "budget", "detail": "its time was up"}
    return end


def command_of(config: Config, assignments: Mapping[str, Any]) -> str:
    """The command that trains one trial's configuration again.

    Args:
        config: The sweep's config, whose own flags shape its trials too.
        assignments: What the sweep sets for this trial.
    """
    given = {key: get_key(config.values, key) for key in config.origins if _shapes_a_run(key)}
    words = ["paceline", "fit", _recipe_of(config)]
    for key, value in {**given, **assignments}.items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += [_FLAGS.get(key, f"--{short_key(key)}"), text]
    return shlex.join(words)


def _recipe_of(config: Config) -> str:
    """The recipe's name, or the file when it is none of the catalog's.

    The file is the one that whoever started the sweep has, in whose place this machine has another:
    a job brings its packages along, and unpacks them anew on each node.
    """
    known = entries("recipes").get(config.recipe)
    is_known = known is not None and _below_package(known.target) == _below_package(config.source)
    return config.recipe if is_known else config.source


def _below_package(path: str) -> tuple[str, ...]:
    """A recipe's file with its folder and the package that this is in."""
    return Path(path).parts[-3:]


def _shapes_a_run(key: str) -> bool:
    return key.partition(".")[0] not in ("sweep", "launch", "tracking")


_FLAGS = {"seed_everything": "--seed"} | {
    f"{section}.class_path": f"--{section.replace('_', '-')}" for section in CLASS_SECTIONS
}

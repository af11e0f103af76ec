"""`paceline promote`: the best configuration of a sweep becomes a version of a registered model.

Everything that could fail after hours is tried first: the names, and whether the model can be
exported at all. Then both configurations are trained with the same seeds, the better one's median
seed is exported and registered, and the alias moves to it. Whatever was done when the process was
killed is read the next time, not done again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...platform.configuration.config import Config
from ...platform.configuration.keys import short_key
from ...platform.errors import PacelineError, RunError, UserError, failed, must
from ...platform.evaluation import find_trained, prepare_alone
from ...platform.home import home, is_held
from ...platform.runs import open_store
from ...platform.signals import Interrupted, interruptible
from ...platform.tracking.export import try_export
from ...platform.tracking.registry import check_names
from ...platform.tracking.store import Store
from ...platform.training import fitting as training
from ...platform.training.building import Built
from ..journal import read_rows
from ..past import Changes, Past, read_past
from ..rows import Rows, TrialRow
from ..search.space import Space, read_space
from ..winner import winner_seeds
from .comparison import Attempt, Contender, Verdict, decide, median_attempt
from .contenders import contenders, values_of
from .outcome import Outcome
from .record import finish, open_promotion_run, register
from .retraining import Retraining

LOCK = "promote.lock"
DEFAULT_SEEDS = 5
_ALONE = {"launch.num_workers": 1, "launch.max_workers": None}


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Args:
        sweep: Name of the sweep.
        seeds: How many seeds train each of the two configurations.
        model: Name of the registered model; None: the recipe's.
        alias: What names the version from now on.
        command: The command line, for the record.
        report: Told what happens: a run's name, and what of it.
    """

    sweep: str
    seeds: int = DEFAULT_SEEDS
    model: str | None = None
    alias: str = "champion"
    command: str = ""
    report: Callable[[str, str], None] = lambda name, what: None


def promote(request: Request, changes: Changes | None = None) -> Outcome:
    """Train a sweep's two best configurations again, and register the better one's model.

    Args:
        request: What is asked for.
        changes: Config key -> (value, flag); those that a sweep may go on with.

    Raises:
        UserError: No such sweep, no finished trial, a model that cannot be exported, or another
            promotion under way; nothing was registered.
        RunError: No seed of either configuration gave a value, or the store did not answer.
        Interrupted: Ctrl-C or SIGTERM; the same command goes on.
    """
    started = time.monotonic()
    past = read_past(request.sweep, changes or {})
    request = replace(request, model=request.model or past.config.recipe)
    check_names(str(request.model), request.alias)
    check_kind(past)
    with only_promotion(request.sweep), interruptible():
        chosen = _contenders(past)
        store = open_store(_recorded_where_it_was(past))
        for row in chosen:
            _check_export(_config_of(past, row))
        parent = open_promotion_run(store, past, request.command)
        with _ended(store, parent):
            verdict = _compare(past, chosen, store, parent, request)
            return _register(past, verdict, store, parent, request, started)


@contextlib.contextmanager
def only_promotion(sweep: str) -> Iterator[None]:
    """Be the only promotion of this home; the lock is the kernel's and ends with the process.

    Two at a time would take the alias from each other.

    Raises:
        UserError: Another process promotes.
    """
    with (home() / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise UserError(
                "`paceline promote` must be the only one at a time, but another is under way: "
                f"{lock.read().strip() or '?'}.",
                str(home() / LOCK),
                f"wait for that process, then: paceline promote {sweep}",
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} promotes {sweep}")
        lock.flush()
        yield


def _contenders(past: Past) -> list[TrialRow]:
    """The winner and the runner-up of a sweep that nobody drives.

    Raises:
        UserError: It runs, or no trial of it has finished.
    """
    name, folder = past.name, past.folder
    if is_held(folder):
        rule = "a sweep that is over"
        remedy = f"wait, or end it: paceline stop {name}"
        raise UserError(must("SWEEP", rule, f"{name}, which runs"), str(folder), remedy)
    rows = read_rows(folder, past.header["metric"], past.header["mode"])
    if found := contenders(rows):
        return found
    raise UserError(
        f"`SWEEP` must have a finished trial with a finite {rows.metric}, but {name} has none "
        f"({_told(rows)}).",
        str(folder),
        f"paceline resume {name}, or see what became of them: paceline show {name}",
    )


def check_kind(past: Past) -> None:
    """Refuse a population, whose members changed their values while they trained.

    Raises:
        UserError: It is one.
    """
    if past.config.sweep.scheduler == "pbt":
        raise UserError(
            f"`SWEEP` must be a sweep of single trials, but {past.name} is a population, which "
            "finds a schedule and no configuration to train again.",
            str(past.folder),
            f"search around its best: paceline sweep {past.config.recipe} --like {past.name}; "
            f"or serve its best checkpoint: paceline serve {past.name}",
        )


def _told(rows: Rows) -> str:
    counts = {s: rows.count(s) for s in ("finished", "failed", "killed", "running", "pending")}
    return ", ".join(f"{n} {status}" for status, n in counts.items() if n) or "no trial began"


def _space(past: Past) -> Space:
    return read_space(past.config.sweep.space, past.config.resolved).select(past.config.sweep.vary)


def _config_of(past: Past, row: TrialRow) -> Config:
    """A trial's configuration in the store that its sweep is recorded in."""
    assignments = _space(past).assignments(values_of(row))
    # Exported once at the end, of the one seed that is taken.
    return _recorded_where_it_was(past).override({**assignments, "tracking.log_model": False})


def _recorded_where_it_was(past: Past) -> Config:
    where = {
        "tracking.uri": past.state["tracking_uri"],
        "tracking.experiment": past.state["experiment"],
    }
    return past.config.override(where, past.name)


def _check_export(config: Config) -> None:
    """Find out before hours of training whether the model can be exported."""
    try_export(training.prepare(config.override(_ALONE)).model)


@contextlib.contextmanager
def _ended(store: Store, run_id: str) -> Iterator[None]:
    """Give the promotion's run its end, however the work ended."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
        store.finish(run_id, "killed" if stopped else "failed", error=None if stopped else error)
        raise
    store.finish(run_id, "finished", stop_reason="completed")


def _compare(
    past: Past, chosen: list[TrialRow], store: Store, parent: str, request: Request
) -> Verdict:
    seeds = winner_seeds(past.config.seed or 0, request.seeds)
    retraining = Retraining(past.name, store, parent, request.command, request.report)
    found = []
    for row in chosen:
        changed = _space(past).assignments(values_of(row))
        attempts = retraining.attempts(_config_of(past, row), row.trial_id, seeds)
        config = {short_key(key): value for key, value in changed.items()}
        found.append(Contender(row.trial_id, config, attempts))
    metric, mode = past.header["metric"], past.header["mode"]
    return decide(found[0], found[1] if len(found) > 1 else None, metric, mode)


def _register(
    past: Past, verdict: Verdict, store: Store, parent: str, request: Request, started: float
) -> Outcome:
    metric, mode = past.header["metric"], past.header["mode"]
    try:
        taken = median_attempt(verdict.promoted, metric, mode)
    except ValueError as error:
        failures = [one.error for one in verdict.promoted.attempts if one.error]
        raise RunError(
            f"{error} Nothing was registered." + (f" The first: {failures[0]}" if failures else ""),
            verdict.promoted.attempts[0].name,
            f"paceline logs {past.name} {verdict.promoted.trial_id}, paceline ui",
        ) from None
    built = _built(taken, past)
    version, before = register(
        store, request.model or "", request.alias, past, verdict, taken, built.model
    )
    outcome = Outcome(
        sweep=past.name,
        version=version,
        alias=request.alias,
        before=before,
        metric=metric,
        verdict=verdict,
        taken=taken,
        run_id=parent,
        tracking_uri=store.uri,
        link=store.link(parent),
        seconds=time.monotonic() - started,
    )
    finish(store, outcome)
    return outcome


def _built(taken: Attempt, past: Past) -> Built:
    """What a run trained, with its best weights, which may have to be fetched from a store."""
    storage = past.config.launch.storage
    changes = {"launch.storage": (storage, "launch.storage")} if storage else {}
    try:
        config, checkpoint, _ = find_trained(taken.name, changes, (), None)
        built = prepare_alone(config.override(_ALONE), checkpoint)
        training.load_weights(built.model, checkpoint)
    except PacelineError:
        raise
    except Exception as error:  # whatever the module raises
        raise failed(error, Path(past.folder)) from error
    return built

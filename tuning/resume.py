"""`resume` and `extend`: a sweep goes on from its journal, as if nothing had happened.

The journal says which trials have ended, which had begun, and what was decided at which rung; the
checkpoints say how far each had come; MLflow is brought into line with both before anything starts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..platform.configuration.config import Config
from ..platform.deferred_signals import DeferredSignals
from ..platform.errors import RunError, UserError, must
from ..platform.home import claim
from ..platform.runs import open_store
from ..platform.signals import interruptible
from ..platform.tracking.store import Store
from .budget import read_budget
from .course import Course
from .driver import Driver
from .journal import JOURNAL, Journal
from .manage.stop import STOP
from .past import Changes, Past, is_done, read_past
from .plan import Plan, check_values, plan_sweep
from .ray_session import RaySession, room_for_trials
from .reconcile import UID, children_of, mend, repairs
from .result import SweepResult
from .rows import Rows
from .trial_ends import trial_tags


def resume_sweep(
    name: str,
    changes: Changes | None = None,
    *,
    command: str = "",
    session: RaySession | None = None,
) -> SweepResult:
    """Let an interrupted sweep go on.

    Args:
        name: The sweep's name.
        changes: Config key -> (value, flag); only those of `MAY_CHANGE`.
        command: The command line, for the record.
        session: Ray that has been starting already.

    Raises:
        UserError: No such sweep, it is running or done, or its files are not as they were written.
        RunError: MLflow has trials that the journal does not know.
        Interrupted: As in `run_sweep`.
    """
    past = read_past(name, changes or {})
    if is_done(past):
        raise UserError(
            must(
                "NAME", "a sweep that was interrupted", f"{name}, which is {past.state['status']}"
            ),
            str(past.folder),
            f"paceline extend {name} --trials 20, or look at it: paceline show {name}",
        )
    return _go_on(past, 0, command, session)


def extend_sweep(
    name: str,
    trials: int,
    changes: Changes | None = None,
    *,
    command: str = "",
    session: RaySession | None = None,
) -> SweepResult:
    """Add trials to a sweep, whose searcher is told of those it has.

    Args:
        name: The sweep's name.
        trials: How many more.
        changes: As in `resume_sweep`.
        command: As in `resume_sweep`.
        session: As in `resume_sweep`.

    Raises:
        UserError: As in `resume_sweep`, or its grid has no more points.
    """
    past = read_past(name, changes or {})
    if past.config.sweep.scheduler == "pbt":
        raise UserError(
            f"`NAME` must be a sweep of single trials, but {name} is a population, which does not "
            "grow.",
            str(past.folder),
            f"start a larger one with its best: paceline sweep {past.config.recipe} --like {name}",
        )
    return _go_on(past, trials, command, session)


def _go_on(past: Past, more: int, command: str, session: RaySession | None) -> SweepResult:
    started = time.monotonic()
    config, name = past.config, past.name
    if more:
        config = config.override({"sweep.trials": config.sweep.trials + more}, "--trials")
    if session is None or session.address != config.launch.address:
        session = RaySession(config.launch.address, after=session)
    storage = config.launch.storage
    with claim(name, storage, again=True) as folder, interruptible(), session:
        (folder / STOP).unlink(missing_ok=True)
        plan = plan_sweep(config, past.header["points"])
        rows = Rows(config.sweep.metric, config.sweep.mode)
        journal = Journal(folder, rows)
        if more and plan.proposer.count <= len(rows):
            rule = f"a search with more than its {plan.proposer.count} configurations"
            raise UserError(must("--trials", rule, config.sweep.search), "--trials")
        check_values(plan)
        width = room_for_trials(session, config, folder)
        store = open_store(_where_it_was(config, past.state)).keep_in(folder)
        with DeferredSignals() as signals:
            run_id = _parent(store, past)
            _check_children(store, run_id, rows)
            event, details = ("extend", {"trials": config.sweep.trials}) if more else ("resume", {})
            journal.write(event, **details)
            if more:
                journal.write("resume")
            course = Course(
                plan=plan,
                name=name,
                run_id=run_id,
                command=command or f"paceline resume {name}",
                folder=folder,
                store=store,
                journal=journal,
                budget=read_budget(config.sweep, plan.proposer.count, time.time()),
                width=width,
                unfinished=_take_up(store, run_id, plan, journal, name),
                started=started,
                spent=float(past.state.get("seconds", 0.0)),
            )
            return Driver(course).run(session, signals)


def _where_it_was(config: Config, state: Mapping[str, Any]) -> Config:
    """The config with the store that the sweep began in, whatever the environment says now."""
    changes = {"tracking.uri": state["tracking_uri"], "tracking.experiment": state["experiment"]}
    return config.override(changes, state["name"])


def _parent(store: Store, past: Past) -> str:
    """The sweep's own run, RUNNING again; made when its driver died before it could be."""
    run_id = past.state["run_id"] or store.find_tagged(UID, past.header["uid"])
    if not run_id:
        return store.create_run(past.name, tags={UID: past.header["uid"]})
    store.reopen(run_id)
    return run_id


def _check_children(store: Store, run_id: str, rows: Rows) -> None:
    """Refuse a journal that is shorter than what MLflow knows."""
    unknown = [r for r in repairs(rows, children_of(store, run_id)) if r.kind == "unknown"]
    if unknown:
        raise RunError(
            f"`{JOURNAL}` must hold every trial that has a run, but {unknown[0].told}.",
            run_id,
            "put the whole journal back, or end such runs: paceline reconcile NAME",
        )


def _take_up(store: Store, run_id: str, plan: Plan, journal: Journal, name: str) -> list[int]:
    """Bring MLflow into line, tell the proposer what was tried, and say which trials go on."""
    rows = journal.rows
    for repair in repairs(rows, children_of(store, run_id)):
        if repair.kind not in ("adopt", "create") or repair.number is None:
            continue
        row = rows.by_number[repair.number]
        child = repair.run_id or store.create_run(
            f"{name}-{row.trial_id}", parent=run_id, tags=trial_tags(row)
        )
        journal.write("run", row.number, run_id=child)
    children = children_of(store, run_id)
    mend(store, rows, repairs(rows, children))
    status = {child.run_id: child.status for child in children}
    for row in rows:
        if row.is_over:
            plan.proposer.tell(row)
            continue
        plan.proposer.running(row.number, row.values)
        if row.attempt or status.get(row.run_id) != "running":
            store.reopen(row.run_id)
    return [row.number for row in rows if not row.is_over]

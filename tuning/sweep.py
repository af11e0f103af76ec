"""A new sweep: checked, claimed, recorded, and given to its driver."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from ..platform.configuration.config import Config
from ..platform.configuration.keys import get_key
from ..platform.deferred_signals import DeferredSignals
from ..platform.home import claim, free_name, home, write_atomic, write_state
from ..platform.runs import open_store
from ..platform.signals import interruptible
from ..platform.tracking.uri import resolve_uri
from .budget import read_budget
from .course import Course
from .driver import Driver
from .journal import VERSION, Journal
from .plan import Plan, check_values, plan_sweep
from .ray_session import RaySession, room_for_trials
from .reconcile import UID
from .result import SweepResult
from .rows import Rows
from .search.differences import as_data


def run_sweep(
    config: Config,
    *,
    name: str | None = None,
    command: str = "",
    session: RaySession | None = None,
) -> SweepResult:
    """Search over a config's space.

    Args:
        config: A recipe's config.
        name: The sweep's name; default `RECIPE-YYYYMMDD-n`.
        command: The command line, for the record.
        session: Ray that has been starting already; used when it is at the config's address.

    Returns:
        The trials and the best of them.

    Raises:
        UserError: The input is wrong; nothing was recorded.
        RunError: Every trial failed.
        Interrupted: Ctrl-C or SIGTERM; its `result` has what was done, and all runs are KILLED.
    """
    started = time.monotonic()
    plan = plan_sweep(config)
    name = name or free_name(config.recipe, config.launch.storage)
    if session is None or session.address != config.launch.address:
        session = RaySession(config.launch.address, after=session)
    with claim(name, config.launch.storage) as folder, interruptible(), session:
        check_values(plan)
        width = room_for_trials(session, config, folder)
        store = open_store(config).keep_in(folder)
        with DeferredSignals() as signals:
            uid = secrets.token_hex(8)
            journal = _open_journal(folder, plan, name, uid)
            _announce(folder, plan, name, store.experiment)
            course = Course(
                plan=plan,
                name=name,
                run_id=store.create_run(name, tags={UID: uid, **config.tracking.tags}),
                command=command or f"paceline sweep {config.recipe}",
                folder=folder,
                store=store,
                journal=journal,
                budget=read_budget(config.sweep, plan.proposer.count, time.time()),
                width=width,
                unfinished=[],
                started=started,
            )
            return Driver(course).run(session, signals)


def _open_journal(folder: Path, plan: Plan, name: str, uid: str) -> Journal:
    """A new journal whose first line says what the sweep is."""
    config = plan.config
    folder.chmod(0o755)  # who else can write here could change what a resume does
    write_atomic(folder / "config.yaml", config.text())
    (folder / "config.yaml").chmod(0o644)
    (folder / "trials.jsonl").unlink(missing_ok=True)  # of a driver that died in its first moment
    journal = Journal(folder, Rows(config.sweep.metric, config.sweep.mode))
    journal.write("sweep", **header(plan, name, uid))
    return journal


def header(plan: Plan, name: str, uid: str) -> dict[str, Any]:
    """What a journal's first line says of its sweep; a resume compares with it."""
    config, sweep = plan.config, plan.config.sweep
    return {
        "version": VERSION,
        "name": name,
        "uid": uid,
        "recipe": config.recipe,
        "source": config.source,
        "seed": plan.seed,
        "metric": sweep.metric,
        "mode": sweep.mode,
        "trials": sweep.trials,
        "search": sweep.search,
        "scheduler": sweep.scheduler,
        "population": vars(sweep.population) if sweep.scheduler == "pbt" else None,
        "vary": [*sweep.vary],
        "space": as_data(plan.space),
        "points": plan.points,
        "time_axis": plan.time_axis,
        "horizon": plan.horizon,
        # What the command set: the commands that a trial's note and the report show repeat it.
        "changes": {key: get_key(config.values, key) for key in config.origins},
    }


def _announce(folder: Path, plan: Plan, name: str, experiment: str) -> None:
    """Make the name known before anything of it is in MLflow: a resume then finds what there is."""
    config = plan.config
    state = {
        "kind": "sweep",
        "name": name,
        "run_id": "",
        "status": "running",
        "recipe": config.recipe,
        "metric": config.sweep.metric,
        "mode": config.sweep.mode,
        "tracking_uri": resolve_uri(config.tracking.uri, home()),
        "experiment": experiment,
    }
    write_state(folder, state)

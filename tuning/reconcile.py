"""MLflow's tree of a sweep against its journal: what differs after a crash, and its repair.

The journal is written first, so it is what holds. A run may be missing (the driver died between the
journal's line and the call), may be RUNNING though its trial has ended, or may be there without a
line: then the journal was cut short.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..platform.errors import UserError, must
from ..platform.home import claim, read_state, run_folder, write_state
from ..platform.tracking.store import Store
from .journal import Journal, check_safe, read_events
from .rows import Rows, TrialRow

UID = "paceline.sweep"  # the tag by which a parent run is known before its id was written down
Kind = Literal["adopt", "create", "finish", "duplicate", "unknown"]


@dataclass(frozen=True)
class Child:
    """A trial's run as MLflow has it.

    Args:
        run_id: Its id.
        status: `running`, `finished`, `failed` or `killed`.
        number: The trial that it says it is of; None when it does not say.
    """

    run_id: str
    status: str
    number: int | None


@dataclass(frozen=True)
class Repair:
    """One thing to mend.

    Args:
        kind: `adopt` a run that the journal lacks, `create` a missing one, `finish` one as its
            trial ended, end a `duplicate` or an `unknown` one.
        number: The trial; None for a run of no trial.
        run_id: The run; empty for one to create.
        told: What is wrong, in a sentence.
    """

    kind: Kind
    number: int | None
    run_id: str
    told: str


def repairs(rows: Rows, children: Sequence[Child]) -> list[Repair]:
    """What is to be mended so that MLflow says what the journal says. Pure.

    Args:
        rows: The trials.
        children: The runs under the sweep's own.
    """
    found: list[Repair] = []
    by_number: dict[int | None, list[Child]] = {}
    for child in children:
        by_number.setdefault(child.number, []).append(child)
    for row in rows:
        found += _repairs_of(row, by_number.pop(row.number, []))
    for number, runs in by_number.items():
        for run in runs:
            told = f"run {run.run_id} is of trial {number}, which the journal does not know"
            found.append(Repair("unknown", number, run.run_id, told))
    return found


def _repairs_of(row: TrialRow, runs: list[Child]) -> Iterable[Repair]:
    number = row.number
    run_id = row.run_id or (runs[0].run_id if runs else "")
    if not row.run_id:
        kind: Kind = "adopt" if run_id else "create"
        yield Repair(kind, number, run_id, f"trial {row.trial_id} has no run in the journal")
    mine = next((run for run in runs if run.run_id == run_id), None)
    if mine is None and row.run_id:
        yield Repair("create", number, "", f"the run of trial {row.trial_id} is gone")
    if mine is not None and row.is_over and mine.status != row.status:
        told = f"the run of trial {row.trial_id} is {mine.status}, but the trial {row.status}"
        yield Repair("finish", number, run_id, told)
    for run in runs:
        if run.run_id != run_id:
            told = f"run {run.run_id} is a second one of trial {row.trial_id}"
            yield Repair("duplicate", number, run.run_id, told)


def children_of(store: Store, parent: str) -> list[Child]:
    """The runs under a sweep's own, oldest first."""
    return [
        Child(run_id, status, int(trial) if trial.isdigit() else None)
        for run_id, (status, trial) in store.children_with(parent, "paceline.trial").items()
        if trial  # runs that are no trial, as of the winner's seeds, are not ours to judge
    ]


def mend(store: Store, rows: Rows, found: Iterable[Repair]) -> None:
    """Carry out the repairs that need no journal: `finish`, `duplicate`, `unknown`."""
    for repair in found:
        if repair.kind == "finish" and repair.number is not None:
            row = rows.by_number[repair.number]
            details: dict[str, Any] = {"stop_reason": row.stop_reason or None}
            if row.status == "failed":
                details["error"] = row.error or "the driver died before it could tell"
            store.finish(repair.run_id, row.status, **details)  # type: ignore[arg-type]
        elif repair.kind in ("duplicate", "unknown"):
            store.set_tags(repair.run_id, {"paceline.orphan": repair.told})
            store.finish(repair.run_id, "killed")


def reconcile(name: str, storage: str | None = None) -> dict[str, Any]:
    """Bring MLflow's tree of a sweep that nobody drives into line with its journal.

    What had not ended is KILLED in both; `paceline resume` may still go on with it.

    Args:
        name: The sweep's name.
        storage: Folder of runs; default under the home.

    Returns:
        `name`, `run_id`, `status`, and `repairs`: a sentence each.

    Raises:
        UserError: No such sweep, it is being driven, or its journal was changed.
    """
    state, folder = read_state(name, storage), run_folder(name, storage)
    if state.get("kind") != "sweep":
        raise UserError(must("NAME", "the name of a sweep", f"{name}, a single run"), str(folder))
    check_safe(folder)
    with claim(name, storage, again=True):
        journal = Journal(folder, Rows(state["metric"], state["mode"]))
        store = Store(state["tracking_uri"], state["experiment"]).open()
        uid = next((e["uid"] for e in read_events(folder) if e["event"] == "sweep"), "")
        run_id = state["run_id"] or store.find_tagged(UID, uid) or ""
        told = _repair(store, journal, run_id) if run_id else []
        journal.close()
        if state["status"] == "running":
            state["status"] = "killed"
            told.append("the sweep was running by its state, but nobody drove it")
        if run_id and store.status(run_id) == "running":
            told.append("the sweep's own run was RUNNING")
            store.finish(run_id, "killed" if state["status"] == "killed" else state["status"])
        write_state(folder, state | {"run_id": run_id})
    return {"name": name, "run_id": run_id, "status": state["status"], "repairs": told}


def _repair(store: Store, journal: Journal, run_id: str) -> list[str]:
    """Write the missing ends and runs into the journal, and mend MLflow."""
    rows, told = journal.rows, []
    for repair in repairs(rows, children_of(store, run_id)):
        if repair.kind == "adopt" and repair.number is not None:
            told.append(repair.told)
            journal.write("run", repair.number, run_id=repair.run_id)
    for row in rows:
        if not row.is_over:
            stopped = row.stopped_by is not None
            how = ("finished", "early_stopped") if stopped else ("killed", None)
            journal.write("end", row.number, status=how[0], stop_reason=how[1])
            told.append(f"trial {row.trial_id} had not ended: {how[0]}")
    found = [r for r in repairs(rows, children_of(store, run_id)) if r.kind != "create"]
    mend(store, rows, found)
    return told + [repair.told for repair in found]

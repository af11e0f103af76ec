"""What became of a trial, or what it waits for, in a paragraph and as facts. Pure.

Everything is derived from the journal's rows and the stopping rule, as the driver itself does it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..rows import Copy, Report, Rows, TrialRow
from ..stopping.judge import Judge
from ..stopping.verdict import Verdict
from ..table import format_seconds, format_value
from ..trial_ends import told_divergence
from .found import by_score


@dataclass(frozen=True)
class Explanation:
    """Why a trial stands as it does.

    Args:
        outcome: `completed`, `stopped`, `diverged`, `budget`, `failed`, `killed`, `interrupted`,
            `running`, `waiting` (at a rung, for another trial) or `pending` (for a free slot).
        text: A paragraph.
        facts: The numbers behind it.
    """

    outcome: str
    text: str
    facts: dict[str, Any]


def explain(row: TrialRow, rows: Rows, judge: Judge, *, is_driven: bool = True) -> Explanation:
    """Why a trial stands as it does. Pure.

    Args:
        row: The trial.
        rows: All trials of the sweep.
        judge: Who stops trials, with the rungs and the order of the sweep.
        is_driven: Whether a living process drives the sweep.
    """
    if not is_driven and row.status in ("running", "pending"):
        outcome, (text, facts) = "interrupted", _interrupted(row, rows)
    elif row.status == "running" or (row.is_paused and judge.waits_for(row.number) is not None):
        waits_for = judge.waits_for(row.number)
        outcome = "running" if waits_for is None else "waiting"
        text, facts = _running(row, rows, judge, waits_for)
    else:
        outcome = _outcome(row)
        text, facts = _TELLERS[outcome](row, rows)
    text = " ".join([f"Trial {row.trial_id} {text}".rstrip(), *_lives(row)])
    return Explanation(outcome, text, {**_facts(row), **facts})


def _outcome(row: TrialRow) -> str:
    """What became of a trial that does not run."""
    if row.status != "finished":
        return row.status
    if row.stop_reason == "early_stopped":
        return "diverged" if told_divergence(row) else "stopped"
    return row.stop_reason if row.stop_reason in _TELLERS else "completed"


def _facts(row: TrialRow) -> dict[str, Any]:
    """What is told of every trial."""
    return {
        "status": row.status,
        "stop_reason": row.stop_reason,
        "epoch": row.epoch,
        "score": row.score,
        "best_epoch": row.best_epoch,
        "attempts": row.attempt,
        "failures": row.failures,
        "seconds": round(row.seconds, 3),
        "verdicts": [verdict.as_dict() for verdict in row.verdicts],
        "copies": [_copy_as_dict(copy) for copy in row.copies],
        "detail": row.detail,
        "error": row.error,
    }


def _copy_as_dict(copy: Copy) -> dict[str, Any]:
    changed = {name: list(pair) for name, pair in copy.changes.items()}
    place = {"rung": copy.rung, "epoch": copy.epoch, "step": copy.step}
    return {**place, "donor": f"{copy.donor:03d}", "changed": changed}


def _lives(row: TrialRow) -> list[str]:
    """What it went through on its way: copies of others, and deaths of its process."""
    told = []
    for copy in row.copies:
        changes = ", ".join(
            f"{name} {format_value(old)} -> {format_value(new)}"
            for name, (old, new) in copy.changes.items()
        )
        told.append(
            f"At rung {copy.rung:g} it went on as a copy of trial {copy.donor:03d} "
            f"(epoch {copy.epoch}, step {copy.step}), with {changes or 'nothing changed'}."
        )
    if row.failures:
        times = "once" if row.failures == 1 else f"{row.failures} times"
        told.append(f"Its process died {times} and it went on; the last cause: {row.last_failure}")
    return told


Told = tuple[str, dict[str, Any]]


def _completed(row: TrialRow, rows: Rows) -> Told:
    passed = [verdict.rung for verdict in row.verdicts]
    by = f", past the rungs {_numbers(passed)}" if passed else ""
    text = f"trained to its end: {_epochs(row.epoch)} in {format_seconds(row.seconds)}{by}. "
    return text + _best(row, rows), {}


def _stopped(row: TrialRow, rows: Rows) -> Told:
    verdict = row.stopped_by
    if verdict is None:
        told = row.detail or "the journal does not say by what"
        return f"was stopped early after {_epochs(row.epoch)}: {told}. {_best(row, rows)}", {}
    reached = row.report_at(verdict.rung)
    epoch = reached.epoch if reached else row.epoch
    text = (
        f"was stopped by {verdict.rule} at rung {verdict.rung:g} (epoch {epoch}): "
        f"{_judged(verdict, rows)}. {_best(row, rows)}"
    )
    return text, {"rung": verdict.rung, "rung_epoch": epoch, "verdict": verdict.as_dict()}


def _judged(verdict: Verdict, rows: Rows) -> str:
    """The comparison that ended a trial."""
    if verdict.cutoff is None or not math.isfinite(verdict.value):
        return f"its {rows.metric} there was no finite number"
    if verdict.rule == "median":
        what = f"its best {rows.metric} so far, {verdict.value:.4g}, was worse than"
        return f"{what} {verdict.cutoff:.4g}, the median of {verdict.of - 1} others' running means"
    place = f"rank {verdict.rank} of {verdict.of}"
    what = f"its {rows.metric} there, {verdict.value:.4g}, was worse than"
    return f"{what} the cutoff of {verdict.cutoff:.4g} ({place})"


def _diverged(row: TrialRow, rows: Rows) -> Told:
    first = row.diverged_since
    if row.diverged_at is not None:  # it was found in between two validations
        epoch, step = row.diverged_at
        text = f"diverged: {told_divergence(row)}. {_best(row, rows)}"
        return text, {"diverged_epoch": epoch, "diverged_step": step}
    if first is None:
        return f"diverged: {row.detail or 'its loss became no finite number'}.", {}
    text = (
        f"diverged: its {rows.metric} was no finite number from epoch {first.epoch} on "
        f"(step {first.step}). {_best(row, rows)}"
    )
    return text, {"diverged_epoch": first.epoch, "diverged_step": first.step}


def _failed(row: TrialRow, rows: Rows) -> Told:
    times = f" (attempt {row.attempt})" if row.attempt > 1 else ""
    detail = f" {row.detail[0].upper()}{row.detail[1:]}." if row.detail else ""
    error = (row.error or "no error was told").rstrip(".")
    return f"failed after {_epochs(row.epoch)}{times}: {error}.{detail}", {}


def _budget(row: TrialRow, rows: Rows) -> Told:
    limit = row.detail or "a limit of the sweep was reached"
    return f"ended after {_epochs(row.epoch)} because {limit}. {_best(row, rows)}", {}


def _killed(row: TrialRow, rows: Rows) -> Told:
    detail = f" ({row.detail})" if row.detail else ""
    text = f"was ended with the sweep after {_epochs(row.epoch)}{detail}, before it was done; "
    return f"{text}when the sweep goes on, so does the trial.", {}


def _interrupted(row: TrialRow, rows: Rows) -> Told:
    was = "had not begun" if row.status == "pending" else f"had done {_epochs(row.epoch)}"
    return f"{was} when the sweep's process died; a resume goes on with it.", {}


def _pending(row: TrialRow, rows: Rows) -> Told:
    ahead = [r.trial_id for r in rows if r.status == "pending" and r.number < row.number]
    running = [r.trial_id for r in rows if r.status == "running"]
    behind = f" behind {', '.join(ahead)}" if ahead else ""
    who = f"; {', '.join(running)} run{'s' if len(running) == 1 else ''} now" if running else ""
    begun = f" to go on after {_epochs(row.epoch)}" if row.epoch else ""
    return f"waits for a free slot{begun}{behind}{who}.", {"behind": ahead, "running": running}


_TELLERS: dict[str, Callable[[TrialRow, Rows], Told]] = {
    "completed": _completed,
    "stopped": _stopped,
    "diverged": _diverged,
    "failed": _failed,
    "budget": _budget,
    "killed": _killed,
    "pending": _pending,
}


def _running(row: TrialRow, rows: Rows, judge: Judge, waits_for: int | None) -> Told:
    last = row.history[-1] if row.history else None
    facts: dict[str, Any] = {"last_score": last and last.score, "waits_for": None}
    if waits_for is not None and judge.leaves_at_rungs:
        rung = judge.open_rung(row.number)
        facts |= {"rung": rung, "waits_for": f"{waits_for:03d}"}
        return (
            f"waits at rung {rung:g} for trial {waits_for:03d} and whoever else is behind: the "
            "members of the population are compared there all at once."
        ), facts
    if waits_for is not None:
        rung, other = judge.open_rung(row.number), rows.by_number[waits_for]
        facts |= {"rung": rung, "waits_for": other.trial_id}
        return (
            f"waits at rung {rung:g} for trial {other.trial_id} (epoch {other.epoch}, "
            f"{other.status}) to come there or to end: in order, it is compared with the trials "
            "before it, all of them."
        ), facts
    attempt = f" (attempt {row.attempt})" if row.attempt > 1 else ""
    at = f"has done {_epochs(row.epoch)}" if row.history else "is in its first epoch"
    text = f"has run for {format_seconds(row.seconds)}{attempt} and {at}"
    if last is not None:
        text += f"; {rows.metric} was {last.score:.4g}"
    needed = needed_at_next_rung(row, rows, judge)
    if needed is None:
        return f"{text}. No rung is before it: it trains to its end. {_best(row, rows)}", facts
    facts |= {"next_rung": needed.rung, "cutoff": needed.cutoff, "rivals": needed.of - 1}
    return f"{text}. {_needs(needed, rows)} {_best(row, rows)}", facts


def needed_at_next_rung(row: TrialRow, rows: Rows, judge: Judge) -> Verdict | None:
    """How a trial would be judged at its next rung with its last score, by what is known now.

    Returns:
        The verdict, whose cutoff is what the trial would have to reach; None: no rung is left.
    """
    judged = {verdict.rung for verdict in row.verdicts}
    rung = next((r for r in judge.rungs(row.number) if r not in judged), None)
    if rung is None:
        return None
    score = row.history[-1].score if row.history else math.nan
    there = Report(row.epoch, max(rung, row.at), 0, score, 0.0, {}, rows.num_reports)
    supposed = Rows(rows.metric, rows.mode)
    supposed.by_number = rows.by_number | {row.number: replace(row, history=[*row.history, there])}
    return Judge(judge.rule, supposed, in_order=judge.in_order).verdict(row.number)


def _needs(needed: Verdict, rows: Rows) -> str:
    rivals = f"{needed.of - 1} rival{'s' if needed.of != 2 else ''} that came there"
    if needed.cutoff is None or not math.isfinite(needed.cutoff):
        return f"At rung {needed.rung:g}, its next, nothing would stop it ({rivals})."
    side = "at most" if rows.mode == "min" else "at least"
    return (
        f"At rung {needed.rung:g}, its next, it would need {rows.metric} of {side} "
        f"{needed.cutoff:.4g} by now ({rivals})."
    )


def _best(row: TrialRow, rows: Rows) -> str:
    if row.score is None:
        return f"It never had a finite {rows.metric}." if row.history else ""
    order = by_score(rows)
    place = 1 + next(i for i, other in enumerate(order) if other.number == row.number)
    where = f"rank {place} of {len(order)}"
    return f"Its best {rows.metric}, {row.score:.4g}, came at epoch {row.best_epoch}: {where}."


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)

"""How the best score came about: each improvement, by time and by epochs of all trials. Pure."""

from __future__ import annotations

from typing import NamedTuple

from ..rows import Report, Rows, TrialRow, is_better


class Improvement(NamedTuple):
    """A validation that beat all before it.

    Args:
        number: The trial.
        score: The new best score.
        epochs: Epochs that all trials together had done by then.
        seconds: Wall time since the sweep's first trial began.
    """

    number: int
    score: float
    epochs: int
    seconds: float


class Spent(NamedTuple):
    """What a sweep has spent up to a moment: epochs of all trials, and seconds of wall time."""

    epochs: int
    seconds: float


def reports_in_order(rows: Rows) -> list[tuple[TrialRow, Report]]:
    """Every validation of every trial, in the order in which they came."""
    pairs = [(row, report) for row in rows for report in row.history]
    return sorted(pairs, key=lambda pair: pair[1].order)


def improvements(rows: Rows) -> list[Improvement]:
    """The steps of the best score so far; scores that are no finite numbers make none."""
    begun, epochs, best = _begun_at(rows), 0, None
    done: dict[int, int] = {}
    found: list[Improvement] = []
    for row, report in reports_in_order(rows):
        epochs += report.epoch - done.get(row.number, 0)
        done[row.number] = report.epoch
        if is_better(report.score, best, rows.mode):
            best = report.score
            seconds = max(0.0, report.time - begun)
            found.append(Improvement(row.number, report.score, epochs, seconds))
    return found


def spent(rows: Rows) -> Spent:
    """What it had cost by the last validation."""
    times = [report.time for row in rows for report in row.history]
    return Spent(rows.epochs, max(0.0, max(times) - _begun_at(rows)) if times else 0.0)


def when_done(rows: Rows) -> dict[int, Spent]:
    """Trial number -> what the sweep had spent at its best validation, of those with a score."""
    begun, epochs = _begun_at(rows), 0
    done: dict[int, int] = {}
    found: dict[int, Spent] = {}
    for row, report in reports_in_order(rows):
        epochs += report.epoch - done.get(row.number, 0)
        done[row.number] = report.epoch
        if report.epoch == row.best_epoch:
            found[row.number] = Spent(epochs, max(0.0, report.time - begun))
    return found


def _begun_at(rows: Rows) -> float:
    """Unix time of the first sign of a trial, in seconds; a resumed trial began anew later."""
    starts = [row.begun_at for row in rows if row.begun_at is not None]
    firsts = [row.history[0].time for row in rows if row.history]
    return min([*starts, *firsts], default=0.0)

"""All that is worked out of a sweep, once, for its page, its pictures and the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from .advice import Advice, advise, next_command
from .importance import Importances, importances
from .pareto import Point, pareto
from .population_section import is_population
from .rungs import RungCount, Saving, rung_counts, rungs_of, saving
from .sweep_report import SweepReport


@dataclass(frozen=True)
class Findings:
    """What the trials of a sweep say.

    Args:
        report: The sweep.
        importances: Which knobs decide.
        advice: What to try next.
        next_command: One command that follows all of it; empty where there is none.
        points: The trials in the space of the objectives; empty with a single one.
        rungs: How many trials came to each rung.
        saving: What early stopping saved; None: unknown.
    """

    report: SweepReport
    importances: Importances
    advice: tuple[Advice, ...]
    next_command: str
    points: tuple[Point, ...]
    rungs: tuple[RungCount, ...]
    saving: Saving | None


def find(report: SweepReport) -> Findings:
    """Work it all out; most of the time goes into the importances."""
    found = _importances(report)
    advice = advise(report, found)
    return Findings(
        report,
        found,
        tuple(advice),
        next_command(report, advice),
        tuple(pareto(report.rows, report.modes)) if report.objectives else (),
        tuple(rung_counts(report.rows, rungs_of(report.rows, report.rungs))),
        saving(report.rows, report.horizon),
    )


def _importances(report: SweepReport) -> Importances:
    """Which knobs decide; of members that changed them on the way, that cannot be told."""
    if is_population(report.rows):
        told = "The members of a population changed their knobs on the way, and copied each other."
        return Importances((), 0.0, len(report.rows), told)
    return importances(report.rows, report.space)

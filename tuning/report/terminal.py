"""The report on a terminal, below the table of trials: what decides, what stopped, what to try."""

from __future__ import annotations

import textwrap

from ..table import format_value
from .findings import Findings, find
from .importance import Importances
from .population_section import is_population, told_population
from .scales import percent, tick_text
from .sweep_report import SweepReport

WIDTH, BAR = 120, 30
MAX_KNOBS, MAX_MEMBERS = 10, 10


def terminal_text(report: SweepReport, findings: Findings | None = None) -> str:
    """The report's pieces, a paragraph each; empty while there is nothing to tell.

    Args:
        report: The sweep.
        findings: From `find(report)`, where it was called already.
    """
    findings = findings or find(report)
    parts = [
        _winner(report),
        _importance(findings.importances),
        _stopping(findings),
        _front(findings),
        _advice(findings),
    ]
    return "\n\n".join(part for part in parts if part)


def _winner(report: SweepReport) -> str:
    if not report.winner:
        return ""
    lines = [f"The best configuration with {report.winner_seeds} seeds, mean and 95 % interval"]
    lines += [f"  {m.name:<18}{m}" for m in report.winner]
    return "\n".join(lines)


def _importance(found: Importances) -> str:
    """A bar a knob; why there are none when something else is known."""
    if not found.knobs:
        return f"What decides: {found.reason}" if found.trials else ""
    told = f"{found.trials} trials, {percent(found.explained)} of their rank explained"
    lines = [f"What decides (permutation importance, {told})"]
    widest = max(knob.share for knob in found.knobs) or 1.0
    for knob in found.knobs[:MAX_KNOBS]:
        bar = "█" * round(BAR * knob.share / widest)
        lines.append(f"  {knob.knob[:24]:<25}{bar:<{BAR}} {percent(knob.share):>5}")
    if len(found.knobs) > MAX_KNOBS:
        lines.append(f"  and {len(found.knobs) - MAX_KNOBS} more that decide less")
    return "\n".join(lines)


def _stopping(findings: Findings) -> str:
    """How many trials came to each rung, in a line, and what that saved."""
    rows, best = findings.report.rows, findings.report.rows.best()
    if not findings.rungs:
        return ""
    if is_population(rows):
        line = f"Population: {told_population(rows, best)}" if best else ""
        return textwrap.fill(line, WIDTH, subsequent_indent="  ")
    words = [f"{rung.reached} to {tick_text(rung.at)}" for rung in findings.rungs]
    line = f"Early stopping: trials that came to {findings.report.time_axis} ... {', '.join(words)}"
    if findings.saving is not None:
        line += f"; {percent(findings.saving.share)} saved"
    return textwrap.fill(line, WIDTH, subsequent_indent="  ")


def _front(findings: Findings) -> str:
    """The members of the Pareto front, by the deciding metric."""
    members = sorted((p for p in findings.points if p.is_on_front), key=lambda p: p.values[0])
    if not members:
        return ""
    names = list(findings.report.modes)
    lines = [f"Pareto front: {len(members)} of {len(findings.points)} trials"]
    lines += [
        f"  {member.number:03d}  "
        + "  ".join(f"{n} {format_value(v)}" for n, v in zip(names, member.values, strict=True))
        for member in members[:MAX_MEMBERS]
    ]
    if len(members) > MAX_MEMBERS:
        lines.append(f"  and {len(members) - MAX_MEMBERS} more")
    return "\n".join(lines)


def _advice(findings: Findings) -> str:
    if not findings.advice:
        return ""
    lines = ["What to try next"]
    for advice in findings.advice:
        text = f"{advice.title}. {advice.why}".replace("`", "")
        lines.append(textwrap.fill(text, WIDTH, initial_indent="  - ", subsequent_indent="    "))
        if words := advice.yaml or " ".join(advice.flags) or advice.command:
            lines.append(f"      {words}")
    if findings.next_command:
        lines.append(f"  {findings.next_command}")
    return "\n".join(lines)

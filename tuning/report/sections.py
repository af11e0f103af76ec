"""The sections of the page that tell: the answer, what decides, stopped and failed, what to try."""

from __future__ import annotations

from collections.abc import Sequence

from ..rows import TrialRow
from ..table import format_value
from .advice import Advice
from .cards import card, command
from .findings import Findings
from .flags import trial_command
from .importance import KnobImportance
from .markup import EMPTY, Markup, escape, join, safe_link, tag
from .ranking import ended
from .scales import knob_axes, percent, tick_text
from .sweep_report import SweepReport


def answer_section(findings: Findings) -> Markup:
    """The best configuration, and the commands that go on with it."""
    report, row = findings.report, findings.report.rows.best()
    if row is None:
        told = "No trial has a finite score yet, so there is none."
        return card("The best configuration", tag("p", told))
    again = "" if row.copies else trial_command(report, row)  # which changed on its way
    commands = [command(text) for text in ([again] if again else []) + [*report.commands]]
    link = safe_link(f"trial {row.trial_id}", report.links.get(row.run_id, ""))
    metrics = [
        tag("tr", tag("th", name), tag("td", format_value(value)))
        for name, value in sorted(row.metrics.items())
    ]
    left = tag("div", tag("table", *_knob_lines(report, row), class_="knobs"))
    right = tag("div", tag("table", *metrics, class_="metrics"), _winner(report))
    return card(
        "The best configuration",
        tag("div", left, right, class_="answer"),
        tag(
            "p",
            "Measure it on the test set:"
            if row.copies
            else "Train it again, measure it on the test set, go on with the sweep:",
            class_="note",
        ),
        *commands,
        told=join("Of ", link, f", at its epoch {row.best_epoch} of {row.epoch}."),
    )


def _knob_lines(report: SweepReport, row: TrialRow) -> list[Markup]:
    """A line a knob: its value, and where that stands in the knob's range."""
    lines = []
    for name, axis in knob_axes(report.rows, report.space).items():
        if name not in row.best_values:  # those that it had at its best
            continue
        place = axis.place(row.best_values[name]) or 0.0
        mark = tag("i", tag("b", style=f"left:{100 * place:.1f}%"), class_="range")
        value = tag("td", format_value(row.best_values[name]))
        lines.append(tag("tr", tag("th", name), value, tag("td", mark)))
    return lines


def _winner(report: SweepReport) -> Markup:
    """The winner's metrics over its seeds."""
    if not report.winner:
        return EMPTY
    lines = [tag("tr", tag("th", m.name), tag("td", str(m))) for m in report.winner]
    told = f"Trained again with {report.winner_seeds} seeds: mean and 95 % interval"
    return join(tag("p", told, class_="note"), tag("table", *lines, class_="metrics"))


def importance_card(findings: Findings) -> Markup:
    """What decides, as bars; or why that cannot be told."""
    found = findings.importances
    if not found.knobs:
        return card("What decides", tag("p", found.reason))
    widest = max(k.drop + 2 * k.error for k in found.knobs) or 1.0
    bars = [_bar(knob, widest) for knob in found.knobs]
    return card(
        "What decides", tag("div", *bars, class_="bars"), tag("p", found.method, class_="note")
    )


def _bar(knob: KnobImportance, widest: float) -> Markup:
    low, high = max(0.0, knob.drop - 2 * knob.error), knob.drop + 2 * knob.error
    whisker = f"left:{100 * low / widest:.1f}%;width:{100 * (high - low) / widest:.1f}%"
    bar = tag("b", style=f"width:{100 * knob.drop / widest:.1f}%")
    return join(
        tag("span", knob.knob, class_="knob"),
        tag("i", bar, tag("em", style=whisker), class_="" if knob.is_clear else "unclear"),
        tag("span", percent(knob.share), class_="number"),
    )


def stopping_card(findings: Findings) -> Markup:
    """How many trials came to each rung, how many ended there, and what that saved."""
    report, saved = findings.report, findings.saving
    if not findings.rungs:
        return card("Early stopping", tag("p", "No trial was judged before its end."))
    most, lines = max(1, len(report.rows)), []
    for rung in findings.rungs:
        name = tick_text(rung.at) + ("" if rung.until == rung.at else f" to {rung.until:g}")
        went = tag("b", style=f"width:{100 * max(0, rung.reached - rung.stopped) / most:.1f}%")
        stopped = tag("u", style=f"width:{100 * rung.stopped / most:.1f}%")
        cut = "" if rung.cutoff is None else f", cut at {format_value(rung.cutoff)}"
        lines += [
            tag("span", f"{report.time_axis} {name}", class_="knob"),
            tag("i", went, stopped),
            tag("span", f"{rung.reached} came, {rung.stopped} stopped{cut}", class_="number"),
        ]
    told = ""
    if saved is not None:
        told = (
            f"{saved.stopped} of {len(ended(report.rows))} ended trials did not run to the end. "
            f"They all took {saved.spent:,.0f} {report.time_axis}s instead of {saved.full:,.0f}: "
            f"{percent(saved.share)} saved."
        )
    return card(
        "Early stopping", tag("div", *lines, class_="bars funnel"), tag("p", told, class_="note")
    )


def failures_card(report: SweepReport) -> Markup:
    """The errors of failed trials, equal ones together; nothing without any."""
    by_error: dict[str, list[TrialRow]] = {}
    for row in report.rows:
        if row.status == "failed":
            by_error.setdefault(row.error or row.detail or "no error was told", []).append(row)
    if not by_error:
        return EMPTY
    lines = [
        tag(
            "tr",
            tag("td", f"{len(rows)} x"),
            tag("td", tag("code", error)),
            tag("td", _named(report, rows)),
        )
        for error, rows in sorted(by_error.items(), key=lambda item: -len(item[1]))
    ]
    return card("Failed trials", tag("div", tag("table", *lines, class_="list"), class_="scroll"))


def _named(report: SweepReport, rows: Sequence[TrialRow], most: int = 12) -> Markup:
    links = [safe_link(row.trial_id, report.links.get(row.run_id, "")) for row in rows[:most]]
    rest = f" and {len(rows) - most} more" if len(rows) > most else ""
    return join(*(join(" ", link) for link in links), rest)


def advice_section(findings: Findings) -> Markup:
    """What to try next, each with its numbers and its flag."""
    if not findings.advice:
        reason = findings.importances.reason
        told = f"Nothing is told yet. {reason}" if reason else "The trials speak for no change."
        return card("What to try next", tag("p", told))
    items = [tag("li", *_advice(advice)) for advice in findings.advice]
    last = EMPTY
    if findings.next_command:
        told = tag("p", "All of it in one command, which begins with what is known:", class_="note")
        last = join(told, command(findings.next_command))
    return card("What to try next", tag("ol", *items, class_="advice"), last)


def _advice(advice: Advice) -> list[Markup]:
    parts = [tag("b", _with_code(advice.title)), tag("p", _with_code(advice.why))]
    if advice.yaml:
        parts.append(tag("code", advice.yaml, class_="yaml"))
    elif advice.flags:
        parts.append(tag("code", " ".join(advice.flags), class_="yaml"))
    if advice.command:
        parts.append(command(advice.command))
    return parts


def _with_code(text: str) -> Markup:
    """Words between backticks as code."""
    parts = text.split("`")
    return join(*(tag("code", p) if i % 2 else escape(p) for i, p in enumerate(parts)))

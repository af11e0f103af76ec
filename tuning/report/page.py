"""The report as one HTML file: style, script and charts inline, nothing loaded from elsewhere.

It opens from a folder, from MLflow's artifact viewer (a frame that may run scripts and no more) and
from a mail. Without its script it still shows everything; the script marks, filters and sorts.
"""

from __future__ import annotations

import time
from importlib import resources
from string import Template

from ..table import format_seconds, format_value
from .chart_sections import charts_section, front_section, parallel_section, slices_section
from .findings import Findings
from .markup import EMPTY, Markup, join, safe_link, tag
from .population_section import is_population, population_section
from .ranking import FATES, count_fates
from .scales import percent
from .sections import (
    advice_section,
    answer_section,
    failures_card,
    importance_card,
    stopping_card,
)
from .sweep_report import SweepReport
from .trials_list import trials_section


def page(findings: Findings) -> str:
    """The whole page."""
    report = findings.report
    if not len(report.rows):
        return _whole(report, join(_header(report), _headline(findings)))
    stopping = EMPTY if is_population(report.rows) else stopping_card(findings)
    beside = (stopping, failures_card(report))
    body = join(
        _header(report),
        _headline(findings),
        answer_section(findings),
        population_section(report),
        charts_section(report),
        parallel_section(report),
        tag("div", importance_card(findings), tag("div", *beside, class_="stack"), class_="pair"),
        front_section(findings),
        slices_section(findings),
        trials_section(report),
        advice_section(findings),
        _footer(findings),
    )
    return _whole(report, body)


def _whole(report: SweepReport, body: Markup) -> str:
    """A body with the style and the script around it."""
    template = Template(_resource("page.html"))
    style, script = _resource("page.css"), _resource("page.js")
    title = tag("title", report.name)
    return template.substitute(title=title, style=style, script=script, body=body)


def _resource(name: str) -> str:
    return resources.files(str(__package__)).joinpath(name).read_text(encoding="utf-8")


def _header(report: SweepReport) -> Markup:
    goal = "lowest" if report.rows.mode == "min" else "highest"
    what = f"a sweep of {report.recipe}" if report.recipe else "a sweep"
    moment = time.strftime("%Y-%m-%d %H:%M")
    parts = [f"{what} for the {goal} {report.rows.metric}", f"as of {moment}"]
    link = safe_link("open in MLflow", report.parent_link) if report.parent_link else EMPTY
    return tag(
        "header",
        tag("h1", report.name, tag("span", report.status, class_=f"status {report.status}")),
        tag("p", " · ".join(parts), " · " if link else "", link),
    )


def _headline(findings: Findings) -> Markup:
    report = findings.report
    rows, best = report.rows, report.rows.best()
    goal = "lower" if rows.mode == "min" else "higher"
    told = (
        f"trial {best.trial_id}, epoch {best.best_epoch}, {goal} is better"
        if best
        else ("no trial has a score" if len(rows) else "no trial has begun")
    )
    of = f"of {report.planned}" if report.planned and report.planned != len(rows) else ""
    trained = sum(row.seconds for row in rows)
    beside = f"{format_seconds(trained)} of training, all trials together" if trained else ""
    return tag(
        "section",
        _tile(f"best {rows.metric}", format_value(best.score if best else None), told),
        _tile("trials", str(len(rows)), _fates(report), of),
        _tile("epochs", f"{rows.epochs:,}", _epochs_told(findings)),
        _tile("wall time", format_seconds(report.seconds), beside),
        class_="tiles",
    )


def _tile(title: str, value: str, told: str | Markup, unit: str = "") -> Markup:
    big = tag("div", value, tag("small", f" {unit}") if unit else "", class_="value")
    return tag("div", tag("div", title, class_="name"), big, tag("div", told, class_="told"))


def _fates(report: SweepReport) -> Markup:
    """A bar with a part for each fate, and the same in words."""
    counts = {name: count for name, count in count_fates(report.rows).items() if count}
    parts = [
        tag("i", class_=f"fate {name}", style=f"flex:{count}", title=f"{count} {FATES[name]}")
        for name, count in counts.items()
    ]
    words = ", ".join(f"{count} {FATES[name]}" for name, count in counts.items())
    return join(tag("div", *parts, class_="fates") if parts else "", words)


def _epochs_told(findings: Findings) -> str:
    saved = findings.saving
    if saved is None:
        return ""
    if not saved.stopped:
        return "no ended trial was stopped early"
    return f"{percent(saved.share)} saved by early stopping"


def _footer(findings: Findings) -> Markup:
    return tag(
        "footer",
        "A trial counts with the best ",
        findings.report.rows.metric,
        " of its validations. That score was picked among many, and so flatters: the test set, or "
        "the same configuration with several seeds, tells what it is worth.",
    )

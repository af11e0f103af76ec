"""The page: well-formed whatever a sweep holds, nothing from elsewhere, nothing of a user's raw."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from paceline.tuning.report.findings import find
from paceline.tuning.report.page import page
from paceline.tuning.report.sweep_report import SweepReport, WinnerMetric
from paceline.tuning.rows import Rows

EVIL = "<script>alert(1)</script>\"'&$x$"
VOID = {"br", "hr", "img", "link", "meta"}


class Checker(HTMLParser):
    """Reads a page and holds what it found; an element that is not closed fails at once."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.text += data

    def count(self, tag: str, kind: str = "") -> int:
        return sum(t == tag and kind in (a.get("class") or "").split() for t, a in self.elements)


def check(report: SweepReport) -> Checker:
    """Parse the page, and check what holds for every page."""
    checker = Checker()
    checker.feed(page(find(report)))
    assert checker.open == []
    for name, attributes in checker.elements:
        assert not {"src", "onclick", "onload", "srcdoc"} & set(attributes), name
        if name in ("path", "circle", "rect", "text", "svg"):
            told = " ".join(str(value) for key, value in attributes.items() if key != "aria-label")
            assert not re.search(r"nan|inf|None", told), told
    return checker


def trial(rows: Rows, number: int, values: dict[str, Any], scores: list[float], **end: Any) -> None:
    rows.apply({"event": "begin", "number": number, "values": values, "time": 1.0})
    rows.apply({"event": "start", "number": number, "time": 1.0})
    for epoch, score in enumerate(scores, 1):
        report = {"epoch": epoch, "time": 1.0 + epoch, "metrics": {rows.metric: score}}
        rows.apply({"event": "report", "number": number, **report})
    if end:
        rows.apply({"event": "end", "number": number, "time": 9.0, **end})


DONE = {"status": "finished", "stop_reason": "completed"}
STRANGE = {"a": None, EVIL: [1, {"x": EVIL}], "b": {"deep": {"er": []}}, "c": "", "d": True}


def strange_sweeps() -> Iterator[tuple[str, SweepReport]]:
    """Sweeps at any moment and of any kind, without a space."""

    def sweep(name: str, *trials: tuple[dict, list[float], dict], **fields: Any):
        rows = Rows(fields.pop("metric", "val/loss"), fields.pop("mode", "min"))
        for number, (values, scores, end) in enumerate(trials):
            trial(rows, number, values, scores, **end)
        return name, SweepReport(EVIL if name == "evil" else name, rows, **fields)

    yield sweep("none yet", status="running")
    yield sweep("one waits", ({"x": 1}, [], {}), status="running")
    yield sweep("one runs", ({"x": 1}, [0.5], {}), status="running")
    yield sweep("one alone", ({"x": 1}, [0.5], DONE))
    yield sweep("no knobs", ({}, [0.5], DONE), ({}, [0.4], DONE))
    yield sweep("all NaN", ({"x": 1}, [math.nan], DONE), ({"x": 2}, [math.nan, math.inf], DONE))
    yield sweep("all equal", *[({"x": 1.0}, [0.5, 0.5], DONE)] * 25)
    yield sweep("zeros", *[({"x": 0.0}, [0.0], DONE)] * 3, metric=EVIL, mode="max")
    yield sweep("huge", ({"x": 1e-300}, [1e300, -1e300], DONE), ({"x": 1e300}, [1e-300], DONE))
    yield sweep("negative", *[({"x": -float(i)}, [-float(i)], DONE) for i in range(30)])
    failed = {"status": "failed", "error": EVIL}
    yield sweep("all failed", ({"x": 1}, [], failed), ({"x": 2}, [0.3], failed), status="failed")
    killed = {"status": "killed"}
    yield sweep("killed", ({"x": 1}, [0.3], killed), ({"x": 2}, [], killed), status="killed")
    yield sweep("strange", (STRANGE, [0.5], DONE), ({"a": 3, "z": EVIL}, [0.4], DONE))
    mixed = [({"x": i if i % 2 else str(i)}, [float(i)], DONE) for i in range(24)]
    yield sweep("mixed", *mixed, objectives={"seconds": "min", "val/accuracy": "max"})
    links = {"": "javascript:alert(1)"}
    winner = (WinnerMetric(EVIL, 0.5, math.nan), WinnerMetric("val/loss", math.nan, 0.1))
    told: dict[str, Any] = {"links": links, "parent_link": "javascript:1", "go_on": (EVIL,)}
    told |= {"recipe": EVIL, "horizon": 5.0, "time_axis": EVIL, "winner": winner}
    yield sweep("evil", (STRANGE, [0.5, 0.4], DONE), metric=EVIL, rungs=(1.0, 3.0), **told)


STRANGE_SWEEPS = dict(strange_sweeps())


@pytest.mark.parametrize("name", STRANGE_SWEEPS)
def test_a_page_is_whole_and_safe_whatever_the_sweep_holds(name: str):
    report = STRANGE_SWEEPS[name]
    checker = check(report)
    assert sum(tag == "script" for tag, _ in checker.elements) == 1
    assert not any("javascript:" in (a.get("href") or "") for _, a in checker.elements)
    assert report.name in checker.text


def test_a_page_loads_nothing(report_of):
    text = page(find(report_of(32)))
    addresses = set(re.findall(r"(?:https?:)?//[a-z0-9][^\s\"'<)]*", text))
    runs = {a for a in addresses if a.startswith("http://127.0.0.1:5000/")}
    assert addresses - runs == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "url(" not in text.replace("url(#clip-", "")
    assert "@import" not in text


def test_every_trial_has_its_row_its_curve_and_its_line(report_of):
    report = report_of(32, broken=0)
    checker = check(report)
    rows = [a["data-t"] for tag, a in checker.elements if tag == "tr" and "data-t" in a]
    assert sorted(map(int, rows)) == list(range(32))
    assert checker.count("path", "curve") == checker.count("path", "line") == 32
    best = report.rows.best()
    assert rows[0] == str(best.number)  # type: ignore[union-attr]


def test_the_headline_and_the_answer_are_told(report_of):
    report = report_of(32, planned=64)
    best = report.rows.best()
    text = check(report).text
    assert best is not None
    assert f"{best.score:.4g}" in text
    assert f"trial {best.trial_id}, epoch {best.best_epoch}, lower is better" in text
    assert "of 64" in text
    assert f"paceline fit mlp --optimizer {best.values['optimizer']}" in text
    assert "paceline extend digits-try --trials 16" in text
    assert "saved by early stopping" in text


def test_a_trial_links_to_its_run(report_of):
    report = report_of(3)
    links = {a.get("href") for tag, a in check(report).elements if tag == "a"}
    assert set(report.links.values()) | {report.parent_link} == links


def test_equal_errors_are_told_once_with_their_trials():
    rows = Rows("val/loss", "min")
    for number in range(5):
        error = "RuntimeError: one" if number else "RuntimeError: other"
        trial(rows, number, {"x": 1}, [], status="failed", error=error)
    text = check(SweepReport("x", rows)).text
    assert text.count("RuntimeError: one") == 1
    assert "4 xRuntimeError: one 001 002 003 004" in text


def test_the_front_has_a_chart_for_each_objective_and_a_row_for_each_member(report_of):
    report = report_of(20, halving=False, objectives={"num_parameters": "min", "seconds": "min"})
    findings = find(report)
    members = sum(point.is_on_front for point in findings.points)
    checker = check(report)
    assert checker.count("circle", "front") == 2 * members
    assert f"{members} of {len(findings.points)} ended trials are beaten by no other" in (
        checker.text
    )


def test_without_objectives_there_is_no_front(report_of):
    assert "Pareto" not in check(report_of(20)).text


def test_the_winner_s_seeds_are_told(report_of):
    winner = (WinnerMetric("test/accuracy", 0.98123, 0.00412), WinnerMetric("lr", 0.1, math.nan))
    text = check(report_of(8, winner=winner, winner_seeds=5)).text
    assert "Trained again with 5 seeds" in text
    assert "0.9812 ± 0.0041" in text
    assert "nan" not in text


def test_a_knob_that_a_trial_does_not_have_passes_below_the_axis(report_of):
    report = report_of(32, broken=0)
    without = next(r for r in report.rows if "momentum" not in r.values)
    lines = [
        a for t, a in check(report).elements if t == "path" and "line" in (a["class"] or "").split()
    ]
    line = next(a for a in lines if a["data-t"] == str(without.number))
    assert "396" in str(line["d"])  # 40 above, 330 of the axis, 26 below


def test_five_hundred_trials_of_twenty_knobs_make_a_page_below_three_megabytes(report_of):
    knobs: dict[str, Any] = {f"k{i:02d}": {"uniform": [0.0, 1.0]} for i in range(10)}
    knobs |= {f"c{i:02d}": {"choice": ["a", [1, 2], {"b": 3}]} for i in range(9)}
    knobs["learning_rate"] = {"loguniform": [1e-5, 1e-2]}
    report = report_of(500, 100, knobs=knobs, halving=False)
    assert len(page(find(report)).encode()) < 3e6

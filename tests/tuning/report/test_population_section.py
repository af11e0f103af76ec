"""The section on a population says who copied whom, and which schedules that made."""

from __future__ import annotations

from typing import Any

import pytest
from paceline.tuning.report.findings import find
from paceline.tuning.report.page import page
from paceline.tuning.report.population_section import own_life, population_section, stretches
from paceline.tuning.report.sweep_report import SweepReport
from paceline.tuning.report.terminal import terminal_text
from paceline.tuning.rows import Rows


def tell(rows: Rows, event: str, number: int, **details: Any) -> None:
    rows.apply({"event": event, "number": number, "time": 1.0, **details})


@pytest.fixture
def rows() -> Rows:
    """Three members; 2 copies 0 at epoch 2, and 1 copies 2 at epoch 4."""
    found = Rows("loss", "min")
    for number in range(3):
        values = {"learning_rate": 0.01 * (number + 1), "augmentation": "none"}
        tell(found, "begin", number, values=values)
    ranks = {(2, 2): 0, (4, 1): 2}
    for epoch in range(1, 7):
        for number in range(3):
            loss = 1.0 / epoch + 0.1 * number
            tell(found, "report", number, epoch=epoch, step=epoch, metrics={"loss": loss})
        for number in range(3 if epoch in (2, 4) else 0):
            verdict = {"rule": "pbt", "rung": float(epoch), "value": 0.5, "cutoff": 0.4}
            verdict |= {"rank": 3, "of": 3, "stops": False}
            if (donor := ranks.get((epoch, number))) is not None:
                rate = found.by_number[donor].values["learning_rate"] * 2
                verdict |= {
                    "donor": donor,
                    "values": {"learning_rate": rate, "augmentation": "none"},
                }
            tell(found, "verdict", number, **verdict)
    for number in range(3):
        tell(found, "end", number, status="finished", stop_reason="completed")
    return found


def test_a_member_s_weights_went_through_its_donor_s_training(rows: Rows):
    line = [
        (start, end, member.number) for start, end, member in stretches(rows.by_number[1], rows)
    ]
    assert line == [(0, 2, 0), (2, 4, 2), (4, 6, 1)]
    rates = [(start, values["learning_rate"]) for start, values in own_life(rows.by_number[1])]
    assert rates == [(0, 0.02), (4, 0.04)]


def test_the_section_names_each_copy_and_its_change(rows: Rows):
    html = population_section(SweepReport("s", rows, horizon=6.0))
    assert "2 copies. What 3 members hold at the end began in 1 of them." in html
    assert "learning_rate 0.01 → 0.02" in html
    assert "learning_rate 0.02 → 0.04" in html
    assert html.count("clip-schedule-") == 2  # one knob changed; its name and its use


def test_the_page_of_a_population_claims_no_early_stopping_and_no_importances(rows: Rows):
    html = page(find(SweepReport("s", rows, horizon=6.0)))
    assert "Early stopping" not in html
    assert "changed their knobs on the way" in html


def test_the_terminal_tells_of_copies_in_place_of_stopped_trials(rows: Rows):
    report = SweepReport("s", rows, horizon=6.0)
    text = terminal_text(report, find(report))
    assert "Population: 2 copies." in text
    assert "The best is trial 000: it copied none." in text
    assert "Early stopping" not in text


def test_a_sweep_of_single_trials_has_no_such_section(rows: Rows):
    plain = Rows("loss", "min")
    tell(plain, "begin", 0, values={"learning_rate": 0.1})
    tell(plain, "report", 0, epoch=1, step=1, metrics={"loss": 1.0})
    assert population_section(SweepReport("s", plain)) == ""
    assert "Early stopping" in page(find(SweepReport("s", plain)))

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from paceline.tuning.journal import Journal
from paceline.tuning.report.findings import find
from paceline.tuning.report.pictures import draw
from paceline.tuning.report.stored import stored_report
from paceline.tuning.report.sweep_report import SweepReport, WinnerMetric
from paceline.tuning.report.write import fresh_report, write_report
from paceline.tuning.result import SweepResult
from paceline.tuning.rows import Rows
from paceline.tuning.show import show, sweep_text

PICTURES = ["best_so_far", "importance", "learning_curves", "parallel", "slices"]


def names(files: list[Path]) -> list[str]:
    return [path.name for path in files]


def test_a_report_is_a_page_and_its_pictures(report_of, tmp_path: Path):
    files = write_report(report_of(32), tmp_path)
    assert names(files) == ["index.html", *(f"{name}.png" for name in PICTURES)]
    assert all(path.parent == tmp_path / "report" for path in files)
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in files[1:])
    assert os.listdir(tmp_path) == ["report"]


def test_pictures_of_which_nothing_is_left_go_with_the_next_report(report_of, tmp_path: Path):
    write_report(report_of(24, objectives={"num_parameters": "min"}), tmp_path)
    assert (tmp_path / "report" / "pareto.png").exists()
    files = write_report(report_of(0), tmp_path)
    assert names(files) == os.listdir(tmp_path / "report") == ["index.html"]


def test_a_report_that_fails_leaves_the_one_before(report_of, tmp_path: Path, monkeypatch):
    write_report(report_of(3), tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    monkeypatch.setattr("paceline.tuning.report.write.draw", lambda findings: {"slices": None})
    with pytest.raises(AttributeError):
        write_report(report_of(8), tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "report").iterdir()} == before
    assert os.listdir(tmp_path) == ["report"]


def rows_of(scores: list[float], values: list[dict[str, Any]], metric: str = "val/loss") -> Rows:
    rows = Rows(metric, "min")
    for number, (score, known) in enumerate(zip(scores, values, strict=True)):
        rows.apply({"event": "begin", "number": number, "values": known})
        report = {"epoch": 1, "metrics": {metric: score}}
        rows.apply({"event": "report", "number": number, **report})
        rows.apply({"event": "end", "number": number, "status": "finished", "time": 1.0})
    return rows


@pytest.mark.parametrize(
    ("scores", "values"),
    [
        ([0.5], [{}]),
        ([math.nan], [{"x": 1}]),
        ([0.5, math.nan, 1e9], [{"x": 1}, {"x": r"a$\bad$c"}, {r"$\bad$": [1, {"$": None}]}]),
        ([0.0] * 25, [{"x" * 40 + str(i % 2): i} for i in range(25)]),
        ([float(i % 7) for i in range(25)], [{"x" * 40 + "1": i, "x" * 40: i} for i in range(25)]),
    ],
)
def test_pictures_are_drawn_of_anything(scores, values, tmp_path: Path):
    rows = rows_of(scores, values, metric=r"val/$\bad$")
    assert write_report(SweepReport("x", rows), tmp_path)


def test_two_knobs_whose_names_are_cut_alike_have_two_bars():
    values = [{"x" * 40: i, "x" * 41: 7 * i % 25} for i in range(25)]
    rows = rows_of([float(i) for i in range(25)], values)
    picture = draw(find(SweepReport("x", rows)))["importance"]
    assert len({bar.get_y() for bar in picture.axes[0].patches}) == 2  # type: ignore[attr-defined]


CONFIG = """
optimizer: {class_path: Adam, init_args: {lr: 0.01}}
trainer: {max_epochs: 7}
sweep:
  metric: val/loss
  trials: 4
  objectives: {num_parameters: min}
  vary: [rate]
  space:
    rate: {to: [optimizer.lr], loguniform: [0.001, 0.1]}
    other: {to: [optimizer.decay], uniform: [0, 1]}
"""


@pytest.fixture
def folder(paceline_home: Path) -> Path:
    """A sweep of two trials that was extended, on disk."""
    folder = paceline_home / "runs" / "try"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "config.yaml").chmod(0o644)
    journal = Journal(folder, Rows("val/loss", "min"))
    head = {"name": "try", "recipe": "mlp", "time_axis": "epoch", "horizon": 7.0}
    journal.write("sweep", **head, changes={"trainer.max_epochs": 7})
    for number in range(2):
        journal.write("begin", number, values={"rate": 0.01 * (number + 1)}, seed=1)
        journal.write("run", number, run_id=f"run{number}")
        journal.write("report", number, epoch=1, metrics={"val/loss": 0.5 - number / 10})
        facts = {"num_parameters": 10}
        journal.write("end", number, status="finished", stop_reason="completed", facts=facts)
    journal.write("extend", trials=9)
    journal.close()
    state = {"kind": "sweep", "name": "try", "run_id": "parent", "status": "finished"}
    state |= {"metric": "val/loss", "mode": "min", "tracking_uri": "sqlite:////none.db"}
    winner = {"seeds": [1, 2], "runs": ["a", "b"], "metrics": {"test/loss": [0.4, 0.01]}}
    (folder / "run.json").write_text(json.dumps(state | {"winner": winner, "best": None}))
    return folder


def result_of(folder: Path, **fields: Any) -> SweepResult:
    from paceline.tuning.journal import read_rows

    rows = read_rows(folder, "val/loss", "min")
    known = {"name": "try", "run_id": "parent", "status": "finished", "best": None}
    return SweepResult(rows=rows, tracking_uri="", seconds=3.0, **{**known, **fields})


def test_a_report_is_read_back_from_the_sweep_s_folder(folder: Path):
    link = "http://host/#/experiments/1/runs/parent?x=1"
    winner = {"seeds": [1, 2], "metrics": {"test/loss": [0.4, 0.01]}}
    report = stored_report(result_of(folder, link=link, winner=winner), folder)
    assert [knob.name for knob in report.space.knobs] == ["rate"]  # type: ignore[union-attr]
    assert (report.horizon, report.time_axis, report.recipe) == (7.0, "epoch", "mlp")
    assert report.objectives == {"num_parameters": "min"}
    assert report.changes == {"trainer.max_epochs": 7}
    assert report.planned == 9
    assert report.links["run1"] == "http://host/#/experiments/1/runs/run1?x=1"
    assert (report.winner, report.winner_seeds) == ((WinnerMetric("test/loss", 0.4, 0.01),), 2)


def test_a_space_that_was_spoilt_by_hand_is_left_out_and_the_trials_are_shown(folder: Path):
    (folder / "config.yaml").write_text(CONFIG.replace("loguniform", "logniform"))
    assert stored_report(result_of(folder), folder).space is None


def test_show_writes_the_report_and_tells_it(folder: Path):
    _, text = show("try")
    page = folder / "report" / "index.html"
    assert page.is_file()
    assert f"  report        {page}" in text
    assert "test/loss         0.4 ± 0.01" in text
    assert "What decides: Importances need 20 ended trials, and there are 2." in text
    assert "*001" in text


def test_show_leaves_a_report_that_nothing_has_happened_since(folder: Path):
    show("try")
    page = folder / "report" / "index.html"
    now = time.time()
    os.utime(page, (now + 5, now + 5))
    written = page.stat().st_mtime_ns
    assert fresh_report(folder)[0] == page
    _, text = show("try")
    assert page.stat().st_mtime_ns == written
    assert str(page) in text
    os.utime(folder / "trials.jsonl", (now + 10, now + 10))
    assert fresh_report(folder) == []


def test_a_sweep_in_a_folder_that_cannot_be_written_is_shown_all_the_same(
    folder: Path, monkeypatch, caplog
):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr("paceline.tuning.report.write.write_report", refuse)
    _, text = show("try")
    assert "*001" in text
    assert "  report " not in text
    assert "could not be written" in caplog.text


def test_a_sweep_s_text_without_findings_is_the_table_and_the_best(folder: Path):
    text = sweep_text(result_of(folder))
    assert "try: finished, 2 trials in 3 s (2 finished, of these 0 stopped early; 0 failed)" in text
    assert "What decides" not in text
    assert text.endswith("  go on         paceline test try")


SCRIPT = """<script>
addEventListener("load", () => {
  Element.prototype.setPointerCapture = () => {};
  const told = {};
  const at = (element, kind, x, y) => element.dispatchEvent(
    new PointerEvent(kind, { clientX: x, clientY: y, bubbles: true, pointerId: 1 }));
  const numbers = () => [...document.querySelectorAll(".trials tbody tr:not(.out)")]
    .map((row) => Number(row.dataset.t));
  document.querySelectorAll(".trials th button")[0].click();
  told.sorted = numbers();
  document.querySelectorAll(".trials th button")[0].click();
  told.reversed = numbers();
  const strip = document.querySelectorAll(".strip")[1];
  const box = strip.getBoundingClientRect();
  at(strip, "pointerdown", box.x + box.width / 2, box.y + 2);
  at(strip, "pointermove", box.x + box.width / 2, box.y + box.height * 0.3);
  at(strip, "pointerup", box.x + box.width / 2, box.y + box.height * 0.3);
  told.kept = numbers();
  told.selection = document.querySelector(".selection").textContent;
  document.querySelector(".selection button").click();
  told.all = numbers().length;
  const dot = document.querySelector("circle.best").getBoundingClientRect();
  at(document.querySelector("svg"), "pointermove", dot.x + 2, dot.y + 2);
  told.tip = document.getElementById("tip").textContent;
  told.marked = new Set([...document.querySelectorAll(".on")].map((e) => e.dataset.t)).size;
  const out = document.createElement("output");
  out.textContent = JSON.stringify(told);
  document.body.append(out);
});
</script>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs the browser chromium")
def test_a_browser_sorts_filters_and_marks(report_of, tmp_path: Path):
    report = report_of(24, broken=0)
    page = write_report(report, tmp_path)[0]
    page.write_text(page.read_text().replace("</body>", f"{SCRIPT}</body>"))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
    command += ["--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=1280,900", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<output>(.*)</output>", done.stdout)
    assert found, done.stderr[-2000:]
    told = json.loads(found.group(1))
    best = report.rows.best()
    assert told["sorted"] == list(range(24))
    assert told["reversed"] == list(range(24))[::-1]
    rates = {row.number: row.values["learning_rate"] for row in report.rows}
    assert told["kept"] == sorted(told["kept"], reverse=True)
    assert 0 < len(told["kept"]) < 24
    others = [rates[number] for number in rates if number not in told["kept"]]
    assert min(rates[number] for number in told["kept"]) > max(others)
    assert told["selection"] == f"{len(told['kept'])} of 24 trials keptshow all"
    assert told["all"] == 24
    assert told["tip"].startswith(f"trial {best.trial_id}")  # type: ignore[union-attr]
    assert told["marked"] == 1

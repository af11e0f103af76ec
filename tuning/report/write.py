"""Writing the report of a sweep to disk: the page, and the pictures that its MLflow run carries.

A sweep may be looked at while it runs, and by two processes at once: every file is made beside the
folder first and then takes its name, so a reader finds a whole one or the one before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ..journal import JOURNAL
from .findings import Findings, find
from .page import page
from .pictures import draw
from .sweep_report import SweepReport

FOLDER, PAGE = "report", "index.html"


def fresh_report(folder: Path) -> list[Path]:
    """The report's files where nothing has happened since it was written; else none."""
    made = folder / FOLDER
    try:
        written = (made / PAGE).stat().st_mtime
        told = max((folder / name).stat().st_mtime for name in (JOURNAL, "run.json"))
    except OSError:
        return []
    return [made / PAGE, *sorted(made.glob("*.png"))] if written > told else []


def write_report(report: SweepReport, folder: Path, findings: Findings | None = None) -> list[Path]:
    """Write `report/index.html` and its pictures into a sweep's folder.

    Args:
        report: The sweep as it stands: with no trial yet, one or many.
        folder: The sweep's folder.
        findings: From `find(report)`, where it was called already.

    Returns:
        The page, then the pictures.

    Raises:
        OSError: The folder cannot be written.
    """
    findings = findings or find(report)
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".report-", dir=folder))
    try:
        (making / PAGE).write_text(page(findings), encoding="utf-8")
        for name, figure in draw(findings).items():
            figure.savefig(making / f"{name}.png", dpi=110)
        made = sorted(making.iterdir(), key=lambda path: (path.name != PAGE, path.name))
        written = [target / path.name for path in made]
        for source, path in zip(made, written, strict=True):
            os.chmod(source, 0o644)
            os.replace(source, path)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    for path in target.glob("*.png"):
        if path not in written:
            path.unlink(missing_ok=True)  # of a report before, such as a front that is no more
    return written

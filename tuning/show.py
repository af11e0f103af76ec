"""A sweep read back from its folder, whether it runs, has finished or was cut off."""

from __future__ import annotations

import io
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..platform.home import is_held, read_state, run_folder
from ..platform.result import RunResult, next_verb
from .journal import read_rows
from .result import SweepResult
from .table import format_seconds, format_value, trials_table

if TYPE_CHECKING:
    from .report.findings import Findings

logger = logging.getLogger("paceline.tuning")


def show(name: str, storage: str | None = None) -> tuple[dict[str, Any], str]:
    """What `paceline show NAME` answers: the JSON object and the text.

    Args:
        name: A sweep or a run.
        storage: Folder of runs; default under the home.

    Raises:
        UserError: No such name.
    """
    state = read_state(name, storage)
    if state.get("kind") != "sweep":
        known = {key: state[key] for key in RunResult.__dataclass_fields__ if key in state}
        missing = {"metrics": {}, "checkpoint": None, "seconds": 0.0}
        run = RunResult(**{**missing, **known})
        return run.as_dict(), run.text(f"paceline {next_verb(run.status)} {name}")
    folder = run_folder(name, storage)
    result = read_sweep(name, state, folder)
    findings = _reported(result, folder)
    return result.as_dict(), sweep_text(result, findings)


def _reported(result: SweepResult, folder: Path) -> Findings:
    """What the trials say; the report is written anew where it is behind the journal."""
    # They import a learner and a plotter, for which a single run's answer need not wait.
    from .report.findings import find
    from .report.stored import stored_report
    from .report.write import fresh_report, write_report

    findings = find(stored_report(result, folder))
    try:
        files = fresh_report(folder) or write_report(findings.report, folder, findings)
    except OSError as error:  # somebody else's sweep can be looked at, too
        logger.warning("The report of %s could not be written: %s", result.name, error)
        files = []
    result.plots = [str(path) for path in files]
    return findings


def read_sweep(name: str, state: dict[str, Any], folder: Path) -> SweepResult:
    """A sweep's result from its journal, newer than its state while it runs."""
    rows = read_rows(folder, state["metric"], state["mode"])
    status, seconds = state["status"], state.get("seconds", 0.0)
    if status == "running":
        status = "running" if is_held(folder) else "killed"
        begun = [row.begun_at for row in rows if row.begun_at]
        seconds = time.time() - min(begun) if begun else seconds
    best, row = state.get("best"), rows.best()
    if row is not None and (best is None or best["trial_id"] != row.trial_id):
        best = {
            "trial_id": row.trial_id,
            "run_id": row.run_id,
            "config": row.values,
            "checkpoint": None,
        }
    if best is not None and row is not None:
        best = {k: v for k, v in best.items() if k != "config_file"} | {"metrics": row.metrics}
    return SweepResult(
        name=name,
        run_id=state["run_id"],
        status=status,
        rows=rows,
        best=best,
        tracking_uri=state["tracking_uri"],
        seconds=seconds,
        link=state.get("link", ""),
        winner=state.get("winner"),
    )


def sweep_text(result: SweepResult, findings: Findings | None = None) -> str:
    """What a person reads: the table, the best trial, what its report says, and where to go on.

    Args:
        result: The sweep.
        findings: What its trials say, from `report.findings.find`; None: nothing of it is told.
    """
    counts = result.as_dict()
    console = Console(width=120, record=True, file=io.StringIO(), highlight=False)
    console.print(trials_table(result.rows, limit=40))
    lines = [
        console.export_text().rstrip(),
        "",
        f"{result.name}: {result.status}, {counts['trials']} trials in "
        f"{format_seconds(result.seconds)} ({counts['finished']} finished, of these "
        f"{counts['stopped_early']} stopped early; {counts['failed']} failed)",
    ]
    if result.best is not None:
        lines.append(f"  best          trial {result.best['trial_id']}")
        lines += [f"  {k:<13} {v:.4g}" for k, v in sorted(result.best["metrics"].items())]
        lines += [f"    {k} = {format_value(v)}" for k, v in result.best["config"].items()]
        lines.append(f"  checkpoint    {result.best['checkpoint']}")
    lines += _told(findings) if findings else []
    pages = [path for path in result.plots if path.endswith(".html")]
    lines += [f"  report        {path}" for path in pages]
    lines += [f"  plot          {path}" for path in result.plots if not pages]
    if result.link:
        lines.append(f"  MLflow        {result.link}  (paceline ui)")
    lines.append(f"  go on         paceline {next_verb(result.status)} {result.name}")
    return "\n".join(lines)


def _told(findings: Findings) -> list[str]:
    """The report's pieces between empty lines."""
    from .report.terminal import terminal_text

    text = terminal_text(findings.report, findings)
    return ["", text, ""] if text else []

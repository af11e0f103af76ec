"""The report of a sweep that has ended, on disk and in the sweep's own MLflow run."""

from __future__ import annotations

import logging

from ..platform.tracking.artifacts import log_files
from .course import Course
from .report.findings import find
from .report.stored import stored_report
from .report.write import FOLDER, write_report
from .result import SweepResult

logger = logging.getLogger("paceline.tuning")


def publish_report(course: Course, result: SweepResult) -> list[str]:
    """Write the report; what cannot be written is told and ends nothing: the sweep stands.

    Returns:
        The paths of its page and its pictures.
    """
    try:
        findings = find(stored_report(result, course.folder))
        files = write_report(findings.report, course.folder, findings)
        log_files(course.store, course.run_id, files, FOLDER)
    except Exception:  # whatever a learner, a plotter, a disk or a store raises
        logger.exception("The report of %s could not be written.", course.name)
        return []
    return [str(path) for path in files]

"""`paceline doctor`: the table for a person, the object for `--json`, and the exit code."""

from __future__ import annotations

from typing import Any

from ...platform.arguments import Arguments
from ...platform.progress import console
from ...platform.tables import table
from .doctor import Diagnosis, diagnose
from .row import FAIL, WARN
from .subject import subject_of

TIMEOUT_S = 60.0
Answer = tuple[Any, str, int]


def doctor_command(arguments: Arguments) -> Answer:
    """`paceline doctor`; exit code 1 where a row is red.

    Raises:
        UserError: A flag, or the profile of the home's cluster, is wrong.
    """
    options = arguments.options
    subject = subject_of(
        options.get("address"),
        options.get("storage"),
        options.get("tracking_uri"),
        options.get("timeout", TIMEOUT_S),
    )
    screen = console()
    if screen.is_terminal:
        with screen.status("looking") as status:
            found = diagnose(subject, lambda name: status.update(f"looking at: {name}"))
    else:
        found = diagnose(subject)
    return found.as_dict(), told(found), 0 if found.is_well else 1


def told(found: Diagnosis) -> str:
    """What a person reads: the table, and what to do."""
    cells = [(row.name, row.state, row.found) for row in found.rows]
    lines = [table(("what", "state", "found"), cells), ""]
    for state in (FAIL, WARN):
        for row in found.rows:
            if row.state == state:
                lines += [f"{state}  {row.name}: {row.found}", f"  try: {row.remedy}"]
    lines.append("" if found.is_well else "not well")
    return "\n".join(lines).rstrip() + ("\nwell" if found.is_well else "")

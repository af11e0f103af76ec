"""What the doctor says of one matter: how it stands, what was found, and the remedy. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OK, WARN, FAIL, SKIPPED = "ok", "warn", "FAIL", "skipped"
_ORDER = (SKIPPED, OK, WARN, FAIL)


@dataclass(frozen=True)
class Row:
    """One row of the doctor's table.

    Args:
        name: What was looked at.
        state: `ok`, `warn`, `FAIL` or `skipped`.
        found: What was found, in a sentence.
        remedy: What to do; empty where nothing needs to be done.
    """

    name: str
    state: str
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Its object in `--json`."""
        return dict(vars(self))


@dataclass(frozen=True)
class Finding:
    """What is to be said of one node, before the nodes are put into one row.

    Args:
        state: As in `Row`.
        text: What was found.
        remedy: What to do.
    """

    state: str
    text: str
    remedy: str = ""


def worst(states: Sequence[str]) -> str:
    """The state of a whole whose parts stand like this; `skipped` where there is none."""
    return max(states, key=_ORDER.index, default=SKIPPED)


def of_nodes(name: str, findings: Mapping[str, Sequence[Finding]]) -> Row:
    """One row of what was found on each node; equal texts are told once.

    Args:
        name: What was looked at.
        findings: Node -> what was found there.
    """
    state = worst([one.state for found in findings.values() for one in found])
    # What is well on one node is of no interest beside what is not on another.
    told = [(node, f) for node, found in findings.items() for f in found if f.state == state]
    texts: dict[str, list[str]] = {}
    for node, finding in told:
        texts.setdefault(finding.text, []).append(node)
    everywhere = len(findings)
    parts = [
        text if len(nodes) == everywhere else f"{', '.join(nodes)}: {text}"
        for text, nodes in texts.items()
    ]
    remedies = dict.fromkeys(finding.remedy for _, finding in told if finding.remedy)
    return Row(name, state, "; ".join(parts), "; ".join(remedies))


def unanswered(silent: Mapping[str, str]) -> dict[str, list[Finding]]:
    """What is said of nodes that did not answer: node -> why."""
    remedy = "see whether the node is alive (ray status), or give it longer (--timeout)"
    return {node: [Finding(FAIL, why, remedy)] for node, why in silent.items()}


def counts(rows: Sequence[Row]) -> dict[str, Any]:
    """How many rows stand how."""
    return {state: sum(row.state == state for row in rows) for state in (OK, WARN, FAIL, SKIPPED)}

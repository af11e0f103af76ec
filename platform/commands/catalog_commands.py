"""The verbs that only look: `list`, `data`, `completion`. None of them imports torch."""

from __future__ import annotations

from typing import Any

from .. import catalog
from ..arguments import Arguments
from ..errors import unknown
from .completion import script

Answer = tuple[Any, str, int]


def list_command(arguments: Arguments) -> Answer:
    """`paceline list [KIND]`: name, one line, and the package that it comes from."""
    kind = arguments.positional["KIND"] or "recipes"
    if kind not in catalog.KINDS:
        raise unknown("KIND", kind, catalog.KINDS)
    entries = catalog.entries(kind).values()
    rows = [
        {"name": e.name, "summary": catalog.summary(e), "package": e.package, "target": e.target}
        for e in entries
    ]
    width = max((len(r["name"]) for r in rows), default=0)
    lines = [f"{r['name']:<{width}}  {r['summary']}" for r in rows] or [f"no {kind} are installed"]
    others = ", ".join(k for k in catalog.KINDS if k != kind)
    return {kind: rows}, "\n".join([*lines, "", f"more: paceline list [{others}]"]), 0


def completion_command(arguments: Arguments) -> Answer:
    """`paceline completion SHELL`: the script to evaluate in the shell's start file."""
    text = script(str(arguments.positional["SHELL"]))
    return {"script": text}, text, 0

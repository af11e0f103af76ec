"""`paceline promote SWEEP`: from a sweep to a registered model."""

from __future__ import annotations

from typing import Any

from ...platform.arguments import Arguments
from ...platform.progress import console
from ...platform.signals import Interrupted


def promote_command(arguments: Arguments) -> tuple[Any, str, int]:
    """Train the two best configurations with several seeds, and register the better one."""
    from ...platform.commands.run_commands import command_line
    from .promotion import DEFAULT_SEEDS, Request, promote

    def report(name: str, what: str) -> None:
        console().print(f"{name} {what}", soft_wrap=True, markup=False, highlight=False)

    options = arguments.options
    request = Request(
        sweep=str(arguments.positional["SWEEP"]),
        seeds=options.get("seeds") or DEFAULT_SEEDS,
        model=options.get("name"),
        alias=options.get("alias") or "champion",
        command=command_line(),
        report=report,
    )
    try:
        outcome = promote(request, arguments.changes)
    except Interrupted:
        report("interrupted;", f"go on with: {command_line()}")
        raise
    return outcome.as_dict(), outcome.text(), 0

"""The verbs over sweeps: `sweep` and `show`, thin over `run_sweep` and `show`."""

from __future__ import annotations

from typing import Any

from ..platform.arguments import Arguments
from ..platform.signals import Interrupted

Answer = tuple[Any, str, int]


def sweep_command(arguments: Arguments) -> Answer:
    """`paceline sweep RECIPE`."""
    from ..platform.run_commands import command_line, config_of

    config = config_of(arguments)
    if arguments.flag("print_config"):
        return config.resolved, config.text(), 0
    from .show import sweep_text
    from .sweep import run_sweep

    name = arguments.options.get("name")
    try:
        result, code = run_sweep(config, name=name, command=command_line()), 0
    except Interrupted as interruption:
        result, code = getattr(interruption, "result", None), interruption.exit_code
        if result is None:  # nothing had been started
            raise
    return result.as_dict(), sweep_text(result), code


def show_command(arguments: Arguments) -> Answer:
    """`paceline show NAME`: a sweep, finished or running, or a run's result."""
    from .show import show

    storage = arguments.changes.get("launch.storage", (None, ""))[0]
    answer, text = show(str(arguments.positional["NAME"]), storage)
    return answer, text, 0

"""The verbs over sweeps: `sweep` and `show`, thin over `run_sweep` and `show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..platform.arguments import Arguments
from ..platform.signals import Interrupted

if TYPE_CHECKING:
    from .ray_session import RaySession

Answer = tuple[Any, str, int]


def sweep_command(arguments: Arguments) -> Answer:
    """`paceline sweep RECIPE`; Ray starts while torch is imported and the config is read."""
    from ..platform.catalog import recipe_path

    recipe_path(str(arguments.positional["RECIPE"]))  # a misspelt name is told before Ray starts
    if arguments.flag("print_config"):
        from ..platform.run_commands import config_of

        config = config_of(arguments)
        return config.resolved, config.text(), 0
    from .ray_session import RaySession

    with RaySession(arguments.changes.get("launch.address", (None, ""))[0]) as session:
        return _sweep(arguments, session)


def _sweep(arguments: Arguments, session: RaySession) -> Answer:
    from ..platform.run_commands import command_line, config_of
    from .show import sweep_text
    from .sweep import run_sweep

    config, name = config_of(arguments), arguments.options.get("name")
    try:
        result, code = run_sweep(config, name=name, command=command_line(), session=session), 0
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

"""The verbs that drive sweeps: `sweep`, `resume`, `extend`, `reconcile`, and `show`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..platform.arguments import Arguments
from ..platform.errors import UserError
from ..platform.signals import Interrupted

if TYPE_CHECKING:
    from .ray_session import RaySession
    from .result import SweepResult

Answer = tuple[Any, str | None, int]


def sweep_command(arguments: Arguments) -> Answer:
    """`paceline sweep RECIPE`; Ray starts while torch is imported and the config is read."""
    from ..platform.catalog import recipe_path

    recipe_path(str(arguments.positional["RECIPE"]))  # a misspelt name is told before Ray starts
    if arguments.flag("print_config"):
        from ..platform.commands.run_commands import config_of

        config = config_of(arguments)
        return config.resolved, config.text(), 0
    with _session(arguments, str(arguments.positional["RECIPE"])) as session:
        return _sweep(arguments, session)


def _session(arguments: Arguments, recipe: str) -> RaySession:
    """Ray, starting, and the processes of its trials becoming warm."""
    from .ray_session import RaySession
    from .warm import Preloading

    files = tuple(arguments.options.get("config", ()))
    preloading = Preloading(recipe, arguments.changes, files, os.getcwd())
    return RaySession(arguments.changes.get("launch.address", (None, ""))[0], preloading=preloading)


def _sweep(arguments: Arguments, session: RaySession) -> Answer:
    from ..platform.commands.run_commands import command_line, config_of
    from .sweep import run_sweep

    config, name = config_of(arguments), arguments.options.get("name")
    return _answer(lambda: run_sweep(config, name=name, command=command_line(), session=session))


def resume_command(arguments: Arguments) -> Answer:
    """`paceline resume NAME`: an interrupted sweep, or a single run."""
    from ..platform.home import read_state

    name, storage = str(arguments.positional["NAME"]), _storage(arguments)
    if read_state(name, storage).get("kind") == "sweep":
        return _go_on(arguments, name)
    from ..platform.commands.run_commands import answer_run, command_line
    from ..platform.resume_run import resume_run

    return answer_run(arguments, lambda: resume_run(name, storage, command=command_line()), "test")


def extend_command(arguments: Arguments) -> Answer:
    """`paceline extend NAME --trials N`."""
    trials = arguments.options.get("trials")
    if trials is None:
        raise UserError(
            "`--trials` must say how many more, but is missing.",
            "paceline extend",
            f"paceline extend {arguments.positional['NAME']} --trials 20",
        )
    return _go_on(arguments, str(arguments.positional["NAME"]), trials)


def _go_on(arguments: Arguments, name: str, more: int = 0) -> Answer:
    from .past import read_past

    read_past(name, arguments.changes)  # what is wrong is told before Ray starts
    from ..platform.home import run_folder

    config = run_folder(name, _storage(arguments)) / "config.yaml"
    with _session(arguments, str(config)) as session:
        from ..platform.commands.run_commands import command_line
        from .resume import extend_sweep, resume_sweep

        told = {"command": command_line(), "session": session}
        if more:
            return _answer(lambda: extend_sweep(name, more, arguments.changes, **told))
        return _answer(lambda: resume_sweep(name, arguments.changes, **told))


def _answer(drive: Callable[[], SweepResult]) -> Answer:
    """What a driven sweep answers, interrupted or not."""
    from .show import sweep_text

    try:
        result, code = drive(), 0
    except Interrupted as interruption:
        result, code = getattr(interruption, "result", None), interruption.exit_code
        if result is None:  # nothing had been started
            raise
    return result.as_dict(), sweep_text(result), code


def reconcile_command(arguments: Arguments) -> Answer:
    """`paceline reconcile NAME`: MLflow's tree of a sweep brought into line with its journal."""
    from .reconcile import reconcile

    answer = reconcile(str(arguments.positional["NAME"]), _storage(arguments))
    lines = [f"  {line}" for line in answer["repairs"]] or ["  nothing was wrong"]
    lines.append(f"  go on         paceline resume {answer['name']}")
    return answer, "\n".join([f"{answer['name']}: {answer['status']}", *lines]), 0


def show_command(arguments: Arguments) -> Answer:
    """`paceline show NAME`: a sweep, finished or running, or a run's result."""
    from .show import show

    answer, text = show(str(arguments.positional["NAME"]), _storage(arguments))
    return answer, text, 0


def _storage(arguments: Arguments) -> str | None:
    return arguments.changes.get("launch.storage", (None, ""))[0]

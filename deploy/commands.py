"""`paceline cluster`: the verbs of where runs happen. None imports torch, Ray or MLflow here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..platform.arguments import Arguments
from ..platform.errors import UserError, unknown
from .local.commands import ACTIONS as OF_A_LOCAL_CLUSTER
from .render import TARGETS, render, write

Answer = tuple[Any, str, int]


def cluster_command(arguments: Arguments) -> Answer:
    """`paceline cluster render TARGET`, `check FOLDER`, `up`, `status`, `env`, `kill NODE`, `down`.

    Raises:
        UserError: Unknown action or target, a wrong value, or files in the way.
    """
    action = str(arguments.positional["ACTION"])
    if action not in _ACTIONS:
        raise unknown("ACTION", action, _ACTIONS, "paceline cluster")
    return _ACTIONS[action](arguments)


def _render(arguments: Arguments) -> Answer:
    target = arguments.positional["TARGET"]
    if target is None:
        shown = "\n       ".join(f"{name:<12}{one.summary}" for name, one in TARGETS.items())
        raise UserError("`TARGET` must be given, but is missing.", "paceline cluster render", shown)
    options = arguments.options
    files = render(target, options.get("values"), options.get("set", []))
    folder = Path(options.get("out", f"paceline-{target}")).expanduser().absolute()
    paths = write(files, folder, force=arguments.flag("force"))
    answer = {"target": target, "folder": str(folder), "files": [path.name for path in paths]}
    lines = [f"wrote {path}" for path in paths]
    return answer, "\n".join([*lines, "", *_next_steps(folder, files)]).rstrip(), 0


def _check(arguments: Arguments) -> Answer:
    """Say what is wrong with manifests that were edited; exit code 2 where anything is."""
    from .checks.folder import absent_validators, folder_problems  # asks Ray and MLflow: slow

    folder = Path(arguments.positional["TARGET"] or ".").expanduser().absolute()
    problems, absent = folder_problems(folder), absent_validators()
    broken = any(problems.values())
    lines = []
    for name, found in problems.items():
        lines += [f"{name}: {'broken' if found else 'ok'}", *(f"  {text}" for text in found)]
    lines += [f"not asked, as it is not installed: {name}" for name in absent]
    answer = {"folder": str(folder), "ok": not broken, "problems": problems, "not_asked": absent}
    return answer, "\n".join(lines), 2 if broken else 0


_ACTIONS = {"render": _render, "check": _check, **OF_A_LOCAL_CLUSTER}


def _next_steps(folder: Path, files: dict[str, str]) -> list[str]:
    """What the first manifest's head says of how it is used."""
    text = next(iter(files.values()))
    told = []
    for line in text.splitlines():
        if not line.startswith("# ") or line.startswith("# hadolint"):
            break
        told.append(line.removeprefix("# "))
    return [f"in {folder}:", *(f"  {line}" for line in told)] if told else []

"""Shell completion: verbs, flags, catalog names, run names and the keys of the recipe at hand."""

from __future__ import annotations

import contextlib

from . import catalog
from .errors import PacelineError, unknown
from .verbs import VERBS, Flag, Verb

_SCRIPTS = {
    "bash": """_paceline() {
  local IFS=$'\\n'
  COMPREPLY=($(paceline complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  [[ ${COMPREPLY[0]} == *. ]] && compopt -o nospace
}
complete -o default -F _paceline paceline""",
    "zsh": """#compdef paceline
_paceline() { compadd -- ${(f)"$(paceline complete "${(@)words[2,CURRENT]}" 2>/dev/null)"} }
compdef _paceline paceline""",
    "fish": """complete -c paceline -f \\
  -a '(paceline complete (commandline -opc)[2..-1] (commandline -ct))'""",
}

_KIND_OF_FLAG = {
    "data": "data",
    "model": "models",
    "optimizer": "optimizers",
    "lr-scheduler": "schedules",
}


def script(shell: str) -> str:
    """The script that a shell evaluates once.

    Raises:
        UserError: The shell is none of bash, zsh and fish.
    """
    if shell not in _SCRIPTS:
        raise unknown("SHELL", shell, _SCRIPTS)
    return _SCRIPTS[shell]


def complete(words: list[str]) -> list[str]:
    """What may stand in the place of the last word.

    Args:
        words: The words after `paceline`, the unfinished one last.
    """
    *before, current = words or [""]
    if not before:
        return _starting(current, VERBS)
    verb = VERBS.get(before[0])
    if verb is None:
        return []
    flag = next((f for f in verb.flags if before[-1] == f"--{f.name}" and f.metavar), None)
    if flag is not None:
        return _starting(current, catalog.entries(_KIND_OF_FLAG.get(flag.name, "envs")))
    if current.startswith("-"):
        return _starting(current, [*_flags(verb.flags), *_keys(verb, before)])
    return _starting(current, _positional(verb, before))


def _starting(current: str, names: object) -> list[str]:
    return sorted(name for name in names if name.startswith(current))  # type: ignore[attr-defined]


def _flags(flags: tuple[Flag, ...]) -> list[str]:
    return [f"--{flag.name}" for flag in flags] + ["--json", "--help"]


def _keys(verb: Verb, before: list[str]) -> list[str]:
    """Keys of the recipe that stands on the line; they need its file, not the classes in it."""
    if not verb.takes_keys or len(before) < 2:
        return []
    with contextlib.suppress(PacelineError):
        from .config_file import read
        from .config_keys import short_key

        _, lines = read(catalog.recipe_path(before[1]))
        return [f"--{short_key(key)}" for key in lines if "." in key and ".space" not in key]
    return []


def _positional(verb: Verb, before: list[str]) -> list[str]:
    place = len([w for w in before[1:] if not w.startswith("-")])
    name = (verb.positional[place] if place < len(verb.positional) else "").rstrip("?")
    if name == "RECIPE":
        return list(catalog.entries("recipes"))
    if name == "NAME" and verb.name == "data":
        return list(catalog.entries("data"))
    if name == "NAME":
        from .home import names

        return [*names(), *catalog.entries("recipes")]
    return list(
        {"KIND": catalog.KINDS, "ACTION": ("list", "get", "verify"), "SHELL": _SCRIPTS}.get(
            name, ()
        )
    )

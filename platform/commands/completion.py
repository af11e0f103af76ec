"""Shell completion: verbs, flags, catalog names, run names and the keys of the recipe at hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from .. import catalog
from ..errors import PacelineError, unknown
from ..flags import COMMON, Flag
from ..verbs import VERBS, Verb

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
    given, open_flag = _scan(verb, before[1:])
    with contextlib.suppress(PacelineError):  # a broken home must not spoil the prompt
        if open_flag:
            kind = _KIND_OF_FLAG.get(open_flag)
            return _starting(current, catalog.entries(kind) if kind else ())
        if current.startswith("-"):
            return _starting(current, [*_flags(verb.flags), *_keys(verb, given)])
        return _starting(current, _positional(verb, len(given)))
    return []


def _scan(verb: Verb, words: list[str]) -> tuple[list[str], str]:
    """Positional words on the line, and the flag that still waits for its value."""
    with_value = {f"--{flag.name}" for flag in verb.flags if flag.metavar}
    given, rest = list[str](), list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            given.append(word)
        elif "=" not in word and ("." in word or word.replace("_", "-") in with_value):
            if not rest:
                return given, word.removeprefix("--").replace("_", "-")
            rest.pop(0)
    return given, ""


def _starting(current: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(current))


def _flags(flags: tuple[Flag, ...]) -> list[str]:
    return [f"--{flag.name}" for flag in (*flags, *COMMON)]


def _keys(verb: Verb, given: list[str]) -> list[str]:
    """Keys of the recipe that stands on the line; they need its file, not the classes in it."""
    if not verb.takes_keys or not given:
        return []
    from ..configuration.file import read
    from ..configuration.keys import short_key

    with contextlib.suppress(PacelineError):  # a run's name, or a recipe that is not there yet
        _, lines = read(catalog.recipe_path(given[0]))
        return [f"--{short_key(key)}" for key in lines if "." in key and ".space" not in key]
    return []


def _positional(verb: Verb, place: int) -> Iterable[str]:
    names = verb.positional
    if names and names[-1].endswith(("+", "*")):
        place = min(place, len(names) - 1)
    name = (names[place] if place < len(names) else "").rstrip("?+*")
    if name == "RECIPE":
        return catalog.entries("recipes")
    if name == "NAME" and verb.name == "data":
        return catalog.entries("data")
    if name in ("NAME", "OTHER"):
        from .. import home

        return [*home.names(), *(catalog.entries("recipes") if verb.takes_keys else ())]
    known = {"KIND": catalog.KINDS, "ACTION": ("list", "get", "verify"), "SHELL": _SCRIPTS}
    known["WHAT"] = ("networks",)
    return known.get(name, ())

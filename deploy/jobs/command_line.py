"""The command that a job runs: what stands behind `paceline submit`, made fit for the cluster.

What can be seen to be wrong is told here, before anything is sent: unknown flags, a wrong config, a
file that the job would look for in vain, a password that everybody could read in Ray's log.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...platform.arguments import Arguments, parse, parse_words
from ...platform.errors import UserError, must, unknown
from ...platform.flags import COMMON, SUBMIT, Flag
from ...platform.tracking.redaction import redact
from ...platform.verbs import VERBS

STARTING = ("fit", "sweep")  # they make a name; the others go on with one
VERBS_OF_JOBS = (*STARTING, "resume", "extend", "validate", "test", "promote", "reconcile")


@dataclass(frozen=True)
class Inner:
    """The command inside a job.

    Args:
        arguments: It, parsed.
        words: It, as typed, without the flags of `submit`.
    """

    arguments: Arguments
    words: tuple[str, ...]

    @property
    def verb(self) -> str:
        """Its verb."""
        return self.arguments.verb.name

    @property
    def starts(self) -> bool:
        """Whether it makes a new run or sweep."""
        return self.verb in STARTING

    def given(self, key: str) -> Any:
        """What a flag sets a key of the config to; None: it is not given."""
        return self.arguments.changes.get(key, (None, ""))[0]

    def takes(self, flag: str) -> bool:
        """Whether its verb has such a flag."""
        return any(one.name == flag for one in self.arguments.verb.flags)


def read_inner(words: Sequence[str]) -> Inner:
    """Parse the command that stands behind `paceline submit`.

    Raises:
        UserError: It is none that a job can run, or is wrong.
    """
    if not words:
        usage = "paceline submit sweep mlp --trials 8"
        raise UserError("`VERB` must be given, but is missing.", "paceline submit", usage)
    verbs = [verb for verb in VERBS_OF_JOBS if verb in VERBS]
    if words[0] not in verbs:
        raise unknown("VERB", words[0], verbs, "paceline submit")
    for word in words:
        if redact(word) != word:
            raise UserError(
                "`paceline submit` must be given no password, because a job's command is readable "
                "in Ray's log, but one of its words has one.",
                redact(word),
                "give passwords to the nodes, in their environment",
            )
    arguments = parse(list(words))
    if arguments.flag("print_config") or "launch.address" in arguments.changes:
        what = "`--print-config` must be left out of a job, but is given."
        raise UserError(what, "paceline submit", shlex.join(["paceline", *words]))
    return Inner(arguments, tuple(words))


def split_words(arguments: Arguments) -> tuple[dict[str, Any], list[str]]:
    """The options of `submit` itself, and the words of the command inside.

    Args:
        arguments: Those of `paceline submit`, whose words nobody has looked at.

    Raises:
        UserError: A flag of `submit` has no value, or none that it takes.
    """
    flags = {flag.name: flag for flag in (*SUBMIT, *COMMON)}
    own: list[str] = []
    inner: list[str] = []
    rest = list(arguments.more)
    while rest:
        word = rest.pop(0)
        flag = _flag_of(word, flags)
        if flag is None:
            inner.append(word)
            continue
        own.append(word)
        if flag.metavar is not None and "=" not in word and rest:
            own.append(rest.pop(0))
    return parse_words(replace(arguments.verb, positional=()), own).options, inner


def _flag_of(word: str, flags: dict[str, Flag]) -> Flag | None:
    if not word.startswith("--"):
        return None
    return flags.get(word[2:].partition("=")[0].replace("_", "-"))


def check_config(inner: Inner) -> Any:
    """The config of a run or a sweep that is to start, checked whole.

    Returns:
        It; None for a verb that goes on with one.

    Raises:
        UserError: Something in it is wrong.
    """
    if not inner.starts:
        return None
    from ...platform.commands.run_commands import config_of

    config = config_of(inner.arguments)
    if inner.verb == "sweep" and not config.sweep.like:
        from ...tuning.plan import plan_sweep

        plan_sweep(config)
    return config


def shipped_words(inner: Inner, folder: Path, files: Sequence[str]) -> list[str]:
    """The words of the command, with its files named as they lie in the job's folder.

    Args:
        inner: The command.
        folder: The folder that is sent.
        files: Paths below it that are.

    Raises:
        UserError: A file that the command names is not sent.
    """
    words = list(inner.words)
    configs = [word for word in _values(words, "--config")]
    recipe = str(inner.arguments.positional.get("RECIPE") or "")
    named = [recipe] if recipe and Path(recipe).suffix in (".yaml", ".yml") else []
    for name in [*named, *configs]:
        words = [_at_home(word, name, folder, files) for word in words]
    for flag in ("--ckpt-path", "--ckpt_path", "--pretrained"):
        for name in _values(words, flag):
            if not Path(name).is_absolute():  # an absolute one may lie on a disk that nodes share
                words = [_at_home(word, name, folder, files) for word in words]
    return words


def _values(words: Sequence[str], flag: str) -> list[str]:
    """What a flag is given, each time."""
    found = [word.partition("=")[2] for word in words if word.startswith(f"{flag}=")]
    pairs = itertools.pairwise(words)
    return found + [value for word, value in pairs if word == flag]


def _at_home(word: str, name: str, folder: Path, files: Sequence[str]) -> str:
    """The word with a file's name in it as the job finds it."""
    if word != name and not word.endswith(f"={name}"):
        return word
    path = Path(name).expanduser().absolute().resolve()
    if not path.is_relative_to(folder):
        rule = f"a file inside the folder that is sent, {folder}"
        raise UserError(must("RECIPE", rule, name), name, "--working-dir FOLDER sends another")
    inside = path.relative_to(folder).as_posix()
    if inside not in files:
        rule = "a file that is sent, which .gitignore, .rayignore and --exclude may forbid"
        raise UserError(must("RECIPE", rule, name), str(path), "!NAME in .rayignore's last line")
    return word.removesuffix(name) + inside


def with_flag(words: list[str], flag: str, value: str) -> list[str]:
    """The words with a flag and its value at their end."""
    return [*words, f"--{flag}", value]

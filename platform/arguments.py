"""The command line as data: a parse over the table of verbs that needs no heavy import.

`--a.b.c VALUE` sets a key of the config; a short flag stands for the key that its row names.
`-` and `_` are the same in a short flag, `--flag VALUE` and `--flag=VALUE` too, and flags may stand
anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from .errors import UserError, must, unknown
from .flags import COMMON, Flag
from .verbs import VERBS, Verb


@dataclass
class Arguments:
    """A parsed command line.

    Args:
        verb: The verb.
        positional: Positional arguments by name, None where an optional one is missing.
        options: The verb's own options by name with underscores.
        changes: Config key -> (value, flag), in the order given.
        more: Words behind the positional arguments, where the last one may be repeated.
        handed_on: Flags that the module knows, by name, as they were typed.
    """

    verb: Verb
    positional: dict[str, str | None]
    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, tuple[Any, str]] = field(default_factory=dict)
    more: list[str] = field(default_factory=list)
    handed_on: dict[str, str] = field(default_factory=dict)

    def flag(self, name: str) -> bool:
        """Whether an option without a value was given."""
        return bool(self.options.get(name))


def parse(argv: list[str]) -> Arguments:
    """Parse the words after `paceline`.

    Raises:
        UserError: Unknown verb or flag (with the nearest), missing or surplus argument.
    """
    if argv[0] not in VERBS:
        raise unknown("VERB", argv[0], VERBS)
    verb, rest = VERBS[argv[0]], list(argv[1:])
    if verb.takes_verb:  # whose words mean something to that verb alone
        is_help = any(word in ("-h", "--help") for word in rest)
        return Arguments(verb, {}, {"help": True} if is_help else {}, more=rest)
    return parse_words(verb, rest)


def parse_words(verb: Verb, rest: list[str]) -> Arguments:
    """Parse the words behind a verb, which are used up.

    Raises:
        UserError: As `parse`.
    """
    flags = {flag.name: flag for flag in (*COMMON, *verb.flags)}
    parsed, words = Arguments(verb, {}), []
    while rest:
        word = rest.pop(0)
        if word in ("-h", "--help"):
            parsed.options["help"] = True
        elif word.startswith("--") and len(word) > 2:
            _take(word, rest, flags, parsed)
        elif word.startswith("-") and len(word) > 1:
            raise unknown("flag", word, [f"--{f}" for f in flags], f"paceline {verb.name}")
        else:
            words.append(word)
    if not parsed.flag("help"):
        _place(words, parsed)
    return parsed


_KEYS_WITHOUT_DOT = {"seed_everything", "weights_only"}


def _take(word: str, rest: list[str], flags: dict[str, Flag], parsed: Arguments) -> None:
    """Take one `--word` and, where it has one, its value."""
    name, equals, value = word[2:].partition("=")
    is_key = name in _KEYS_WITHOUT_DOT or ("." in name and all(name.split(".")))
    flag = None if is_key else flags.get(name.replace("_", "-"))
    if flag is None and not is_key and parsed.verb.takes_more:
        bare = not equals and (not rest or rest[0].startswith("--"))
        parsed.handed_on[name] = "true" if bare else value if equals else rest.pop(0)
        return
    if (is_key and not parsed.verb.takes_keys) or (not is_key and flag is None):
        where = f"paceline {parsed.verb.name}"
        raise unknown("flag", f"--{name}", [f"--{f}" for f in flags], where)
    if flag is not None and flag.metavar is None:
        if equals:
            raise UserError(must(f"--{name}", "given without a value", value))
        parsed.options[flag.name.replace("-", "_")] = True
        return
    if not equals:
        if not rest or rest[0].startswith("--"):
            raise UserError(f"`--{name}` must be followed by a value, but is not.")
        value = rest.pop(0)
    if flag is not None and not value.strip():
        raise UserError(f"`--{name}` must be followed by a value, but is followed by nothing.")
    if flag is not None and flag.key is None:
        _set_option(flag, value, parsed)
    else:
        key = name if flag is None else str(flag.key)
        parsed.changes[key] = (_value(value, f"--{name}", flag), f"--{name}")


def _set_option(flag: Flag, value: str, parsed: Arguments) -> None:
    name = flag.name.replace("-", "_")
    if flag.name in ("config", "set", "exclude"):
        parsed.options.setdefault(name, []).append(value)
        return
    if flag.metavar == "INT":
        if not value.isdigit() or int(value) < 1:
            raise UserError(must(f"--{flag.name}", "an integer >= 1", value))
        parsed.options[name] = int(value)
        return
    if flag.metavar == "SECONDS":
        parsed.options[name] = _seconds(value, f"--{flag.name}")
        return
    parsed.options[name] = value


def _seconds(text: str, where: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UserError(must(where, "a number of seconds > 0", text))
    return seconds


def _value(text: str, where: str, flag: Flag | None) -> Any:
    """A flag's value: a name as it stands, a list split at commas, anything else as YAML."""
    if flag is not None and flag.is_list:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise UserError(must(where, "at least one name", text))
        return parts
    if flag is not None and flag.metavar not in ("INT", "NUMBER", "SECONDS"):
        return text
    from .configuration.file import parse_value

    return parse_value(text, where)


def _place(words: list[str], parsed: Arguments) -> None:
    """Give the positional arguments their names."""
    names = parsed.verb.positional
    needed = [n for n in names if not n.endswith(("?", "*"))]
    usage = " ".join(["paceline", parsed.verb.name, *(n.rstrip("?+*") for n in names)])
    if len(words) < len(needed):
        missing = needed[len(words)].rstrip("+")
        raise UserError(f"`{missing}` must be given, but is missing.", "", usage)
    if names and names[-1].endswith(("+", "*")):
        words, parsed.more = words[: len(names)], words[len(names) :]
    if len(words) > len(names):
        surplus = words[len(names)]
        raise UserError(must("arguments", f"at most {len(names)}", surplus), "", usage)
    padded = [*words, *[None] * (len(names) - len(words))]
    parsed.positional = {n.rstrip("?+*"): w for n, w in zip(names, padded, strict=True)}

"""The command line as data: one table of verbs and flags, and a parse that needs no heavy import.

`--a.b.c VALUE` sets a key of the config; the short flags stand for the keys in `FLAGS`. `-` and `_` are
the same in a short flag, `--flag VALUE` and `--flag=VALUE` too, and flags may stand anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .errors import UserError, must, unknown


@dataclass(frozen=True)
class Flag:
    """One short flag.

    Args:
        name: As written after `--`, with dashes.
        help: One line.
        key: Config key that it sets; None: an option of the verb itself.
        metavar: What the value is called; None: the flag takes no value.
        is_list: The value is split at commas.
    """

    name: str
    help: str
    key: str | None = None
    metavar: str | None = "VALUE"
    is_list: bool = False


_CONFIG = (
    Flag("seed", "seed of everything random", "seed_everything", "INT"),
    Flag("data", "another data set; sizes of the model follow it", "data.class_path", "NAME"),
    Flag("model", "another model class", "model.class_path", "NAME"),
    Flag("optimizer", "another optimizer", "optimizer.class_path", "NAME"),
    Flag("lr-scheduler", "another learning-rate schedule", "lr_scheduler.class_path", "NAME"),
    Flag("workers", "worker processes of each run", "launch.num_workers", "INT"),
    Flag("address", "Ray cluster: auto, host:6379", "launch.address", "ADDRESS"),
    Flag("cpus-per-worker", "CPU cores that a worker reserves", "launch.cpus_per_worker", "NUMBER"),
    Flag("gpus-per-worker", "GPUs that a worker reserves", "launch.gpus_per_worker", "NUMBER"),
    Flag("storage", "folder for state and checkpoints", "launch.storage", "DIR"),
    Flag("tracking-uri", "MLflow store or server", "tracking.uri", "URI"),
    Flag("experiment", "MLflow experiment", "tracking.experiment", "NAME"),
)
_COMMON = (
    Flag("json", "one JSON object on standard output, the rest on standard error", None, None),
    Flag("help", "this text", None, None),
)
_RECIPE = (
    Flag("name", "name of the run; default RECIPE-YYYYMMDD-n", None, "NAME"),
    Flag("config", "another YAML file laid over the recipe (may be repeated)", None, "FILE"),
    Flag("print-config", "print the whole config and stop", None, None),
)
_CKPT = (Flag("ckpt-path", "checkpoint to load", "ckpt_path", "FILE"),)
_SWEEP = (
    Flag("trials", "configurations to try", "sweep.trials", "INT"),
    Flag("vary", "knobs to vary, the others stay", "sweep.vary", "KNOB,KNOB", is_list=True),
    Flag("search", "random or grid", "sweep.search", "NAME"),
    Flag("scheduler", "asha or none", "sweep.scheduler", "NAME"),
    Flag("metric", "metric that decides", "sweep.metric", "NAME"),
    Flag("mode", "min or max", "sweep.mode", "MODE"),
    Flag("max-time", "budget in seconds", "sweep.max_time_s", "SECONDS"),
)
_SEEDS = (Flag("seeds", "repeat with this many seeds; report mean and interval", None, "INT"),)


@dataclass(frozen=True)
class Verb:
    """One verb of the command.

    Args:
        name: What the user types.
        help: One line.
        positional: Names of its positional arguments; a trailing `?` makes one optional.
        flags: Its short flags.
        takes_keys: Whether dotted config keys may be given.
    """

    name: str
    help: str
    positional: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    takes_keys: bool = False


VERBS = {
    verb.name: verb
    for verb in (
        Verb("list", "what can be run: recipes, models, data, optimizers, ...", ("KIND?",)),
        Verb("fit", "train once", ("RECIPE",), (*_RECIPE, *_SEEDS, *_CONFIG, *_CKPT), True),
        Verb(
            "validate",
            "measure on the validation set",
            ("NAME",),
            (*_RECIPE, *_CONFIG, *_CKPT),
            True,
        ),
        Verb("test", "measure on the test set", ("NAME",), (*_RECIPE, *_CONFIG, *_CKPT), True),
        Verb("predict", "write predictions", ("NAME",), (*_RECIPE, *_CONFIG, *_CKPT), True),
        Verb(
            "sweep",
            "search over a recipe's space",
            ("RECIPE",),
            (*_RECIPE, *_SWEEP, *_CONFIG),
            True,
        ),
        Verb(
            "show",
            "table and best trial of a sweep, or a run's result",
            ("NAME",),
            (Flag("storage", "folder of runs", "launch.storage", "DIR"),),
        ),
        Verb(
            "ui",
            "MLflow's page on the store in use",
            (),
            (
                Flag("port", "port on 127.0.0.1; default 5000", None, "INT"),
                Flag("tracking-uri", "MLflow store", "tracking.uri", "URI"),
            ),
        ),
        Verb(
            "data",
            "list, get or verify data sets",
            ("ACTION", "NAME?"),
            (Flag("data-dir", "folder to look in first", None, "DIR"),),
        ),
        Verb("completion", "print the shell's completion script: bash, zsh or fish", ("SHELL",)),
    )
}


@dataclass
class Arguments:
    """A parsed command line.

    Args:
        verb: The verb.
        positional: Positional arguments by name, None where an optional one is missing.
        options: The verb's own options by name with underscores.
        changes: Config key -> (value, flag), in the order given.
    """

    verb: Verb
    positional: dict[str, str | None]
    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, tuple[Any, str]] = field(default_factory=dict)

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
    verb = VERBS[argv[0]]
    flags = {flag.name: flag for flag in (*_COMMON, *verb.flags)}
    parsed, words, rest = Arguments(verb, {}), [], list(argv[1:])
    while rest:
        word = rest.pop(0)
        if word in ("-h", "--help"):
            parsed.options["help"] = True
        elif word.startswith("--") and len(word) > 2:
            _take(word, rest, flags, parsed)
        elif word.startswith("-") and len(word) > 1:
            raise unknown("flag", word, [f"--{f}" for f in flags])
        else:
            words.append(word)
    if not parsed.flag("help"):
        _place(words, parsed)
    return parsed


def _take(word: str, rest: list[str], flags: dict[str, Flag], parsed: Arguments) -> None:
    """Take one `--word` and, where it has one, its value."""
    name, equals, value = word[2:].partition("=")
    is_key = "." in name
    flag = None if is_key else flags.get(name.replace("_", "-"))
    if (is_key and not parsed.verb.takes_keys) or (not is_key and flag is None):
        raise unknown("flag", f"--{name}", [f"--{f}" for f in flags])
    if flag is not None and flag.metavar is None:
        if equals:
            raise UserError(must(f"--{name}", "given without a value", value))
        parsed.options[flag.name.replace("-", "_")] = True
        return
    if not equals:
        if not rest or rest[0].startswith("--"):
            raise UserError(f"`--{name}` must be followed by a value, but is not.")
        value = rest.pop(0)
    if flag is not None and flag.key is None:
        _set_option(flag, value, parsed)
    else:
        key = name if flag is None else str(flag.key)
        parsed.changes[key] = (_value(value, f"--{name}", flag), f"--{name}")


def _set_option(flag: Flag, value: str, parsed: Arguments) -> None:
    name = flag.name.replace("-", "_")
    if flag.name == "config":
        parsed.options.setdefault(name, []).append(value)
        return
    if flag.metavar == "INT":
        if not value.isdigit() or int(value) < 1:
            raise UserError(must(f"--{flag.name}", "an integer >= 1", value))
        parsed.options[name] = int(value)
        return
    parsed.options[name] = value


def _value(text: str, where: str, flag: Flag | None) -> Any:
    """A flag's value: a name as it stands, a list split at commas, anything else as YAML."""
    if flag is not None and flag.is_list:
        return [part.strip() for part in text.split(",") if part.strip()]
    if flag is not None and flag.metavar not in ("INT", "NUMBER", "SECONDS"):
        return text
    from .config_file import parse_value

    return parse_value(text, where)


def _place(words: list[str], parsed: Arguments) -> None:
    """Give the positional arguments their names."""
    names = parsed.verb.positional
    needed = [n for n in names if not n.endswith("?")]
    usage = f"paceline {parsed.verb.name} {' '.join(n.rstrip('?') for n in names)}"
    if len(words) < len(needed):
        raise UserError(f"`{needed[len(words)]}` must be given, but is missing.", "", usage)
    if len(words) > len(names):
        surplus = words[len(names)]
        raise UserError(must("arguments", f"at most {len(names)}", surplus), "", usage)
    padded = [*words, *[None] * (len(names) - len(words))]
    parsed.positional = {n.rstrip("?"): w for n, w in zip(names, padded, strict=True)}


def help_text(verb: Verb | None = None) -> str:
    """The text of `paceline --help`, or of one verb's `--help`."""
    if verb is None:
        width = max(map(len, VERBS)) + 2
        lines = [f"  {v.name:<{width}}{v.help}" for v in VERBS.values()]
        return "\n".join(
            [
                "paceline: train and sweep Lightning modules on Ray, with a true record in MLflow",
                "",
                "  paceline sweep mlp            sweep the default recipe on this machine",
                "  paceline ui                   look at it in MLflow",
                "",
                *lines,
                "",
                "paceline VERB --help tells a verb's flags.",
            ]
        )
    positional = " ".join(f"[{n[:-1]}]" if n.endswith("?") else n for n in verb.positional)
    flags = [*verb.flags, *_COMMON]
    shown = [f"--{f.name}" + (f" {f.metavar}" if f.metavar else "") for f in flags]
    width = max(map(len, shown)) + 2
    lines = [f"paceline {verb.name} {positional}: {verb.help}", ""]
    lines += [f"  {s:<{width}}{f.help}" for s, f in zip(shown, flags, strict=True)]
    if verb.takes_keys:
        lines += [
            "",
            "Any key of the config: --model.dropout 0.2 --optimizer.lr 3e-4 --trainer.max_epochs 5",
        ]
    return "\n".join(lines)

"""The command's verbs and their flags, as one table; `--help` is written from it."""

from __future__ import annotations

from dataclasses import dataclass


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
    Flag("pretrained", "weights to start from", "model.init_args.pretrained", "FILE"),
    Flag(
        "workers", "worker processes of each run on Ray; 2:4: what fits", "launch.num_workers", "N"
    ),
    Flag("address", "Ray cluster: auto, host:6379", "launch.address", "ADDRESS"),
    Flag("cpus-per-worker", "CPU cores that a worker reserves", "launch.cpus_per_worker", "NUMBER"),
    Flag("gpus-per-worker", "GPUs that a worker reserves", "launch.gpus_per_worker", "NUMBER"),
    Flag("storage", "folder or s3://bucket/prefix of runs", "launch.storage", "PLACE"),
    Flag("tracking-uri", "MLflow store or server", "tracking.uri", "URI"),
    Flag("experiment", "MLflow experiment", "tracking.experiment", "NAME"),
)
COMMON = (
    Flag("json", "one JSON object on standard output, the rest on standard error", None, None),
    Flag("help", "this text", None, None),
)
_RECIPE = (
    Flag("name", "name of the run; default RECIPE-YYYYMMDD-n", None, "NAME"),
    Flag("config", "another YAML file laid over the recipe (may be repeated)", None, "FILE"),
    Flag("print-config", "print the whole config and stop", None, None),
)
_CKPT = (Flag("ckpt-path", "checkpoint to load", "ckpt_path", "FILE"),)
# A trial is one worker; several share a GPU where each asks for a part of it.
_SHAPE = (
    Flag("cpus-per-trial", "CPU cores that a trial reserves", "launch.cpus_per_worker", "NUMBER"),
    Flag("gpus-per-trial", "GPUs of a trial; 0.25 shares one", "launch.gpus_per_worker", "NUMBER"),
)
_SWEEP = (
    Flag("trials", "configurations to try", "sweep.trials", "INT"),
    Flag("vary", "knobs to vary, the others stay", "sweep.vary", "KNOB,KNOB", is_list=True),
    Flag("search", "random, grid, tpe or a ray.tune.search class", "sweep.search", "NAME"),
    Flag("scheduler", "asha, hyperband, median, pbt or none", "sweep.scheduler", "NAME"),
    Flag("like", "an earlier sweep whose best are tried first", "sweep.like", "NAME"),
    Flag("seeds", "train the best again with this many seeds", "sweep.winner_seeds", "INT"),
    Flag("metric", "metric that decides", "sweep.metric", "NAME"),
    Flag("mode", "min or max", "sweep.mode", "MODE"),
    Flag("max-time", "budget in seconds", "sweep.max_time_s", "SECONDS"),
    Flag("trial-time", "seconds that one trial may take", "sweep.trial_time_s", "SECONDS"),
    *_SHAPE,
)
_STORAGE = Flag("storage", "folder or s3://bucket/prefix of runs", "launch.storage", "PLACE")
_GO_ON = (
    _STORAGE,
    Flag("address", "Ray cluster: auto, host:6379", "launch.address", "ADDRESS"),
    Flag("max-time", "budget in seconds", "sweep.max_time_s", "SECONDS"),
    Flag("trial-time", "seconds that one trial may take", "sweep.trial_time_s", "SECONDS"),
    *_SHAPE,
)
_LOOK = (_RECIPE[1], *_CONFIG[:5])  # for verbs that build a recipe and run nothing
_CHECK = (
    Flag("gradients", "compare every gradient with central differences", None, None),
    Flag("entries", "entries checked of each tensor that has more; default: up to 64", None, "INT"),
    *_LOOK,
)
_PREDICT = (Flag("invert", "turn light and dark of the pictures round", None, None),)
_BENCH = (
    Flag("recipes", "only these, joined by commas", None, "NAME,NAME"),
    Flag("batch", "pictures at a time; default 8", None, "INT"),
    Flag("rounds", "how often each network is timed; default 5", None, "INT"),
    Flag("output", "the picture; default networks.png", None, "FILE"),
    _STORAGE,
)
_SEEDS = (Flag("seeds", "repeat with this many seeds; report mean and interval", None, "INT"),)


@dataclass(frozen=True)
class Verb:
    """One verb of the command.

    Args:
        name: What the user types.
        help: One line.
        positional: Names of its positional arguments; a trailing `?` makes one optional, a
            trailing `+` lets the last one be repeated, a trailing `*` lets it be left out too.
        flags: Its short flags.
        takes_keys: Whether dotted config keys may be given.
        takes_more: Whether it hands other flags on to the module, which knows them.
    """

    name: str
    help: str
    positional: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    takes_keys: bool = False
    takes_more: bool = False


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
        Verb(
            "predict",
            "write predictions for the test set, or tell what pictures show",
            ("NAME", "IMAGE*"),
            (*_RECIPE, *_CONFIG, *_CKPT, *_PREDICT),
            True,
        ),
        Verb(
            "sample",
            "let a trained module make text or pictures; flags are its own (--seed, --prompt, ...)",
            ("NAME",),
            (*_RECIPE, *_CKPT, _STORAGE),
            True,
            True,
        ),
        Verb("inspect", "a network's layers: shapes, parameters, cost", ("RECIPE",), _LOOK, True),
        Verb("check", "try one batch; --gradients: check them", ("RECIPE",), _CHECK, True),
        Verb("bench", "measure: networks (their time against their cost)", ("WHAT",), _BENCH),
        Verb(
            "sweep",
            "search over a recipe's space",
            ("RECIPE",),
            (*_RECIPE, *_SWEEP, *_CONFIG),
            True,
        ),
        Verb("resume", "go on with an interrupted sweep or run", ("NAME",), _GO_ON, True),
        Verb(
            "extend",
            "add trials to a sweep",
            ("NAME",),
            (Flag("trials", "how many more", None, "INT"), *_GO_ON),
            True,
        ),
        Verb("reconcile", "mend a sweep's record after a crash", ("NAME",), (_STORAGE,)),
        Verb(
            "show",
            "table and best trial of a sweep, or a run's result",
            ("NAME",),
            (_STORAGE,),
        ),
        Verb("status", "how all runs and sweeps stand, or one of them", ("NAME?",), (_STORAGE,)),
        Verb(
            "stop",
            "end a sweep or a run in order, and wait until it has",
            ("NAME",),
            (Flag("timeout", "how long to wait; default 60", None, "SECONDS"), _STORAGE),
        ),
        Verb(
            "logs",
            "what a trial wrote (a number or best), or the sweep's own process",
            ("NAME", "TRIAL?"),
            (
                Flag("lines", "the last so many lines; default 100", None, "INT"),
                Flag("follow", "go on until it is over", None, None),
                _STORAGE,
            ),
        ),
        Verb(
            "why",
            "why a trial stopped or failed, or what it waits for",
            ("NAME", "TRIAL"),
            (_STORAGE,),
        ),
        Verb(
            "sync", "upload what an outage of the tracking store held up", ("NAME?",), (_STORAGE,)
        ),
        Verb("compare", "sweeps and runs side by side", ("NAME", "OTHER+"), (_STORAGE,)),
        Verb(
            "clean",
            "delete checkpoints of sweeps that nobody needs",
            ("NAME?",),
            (
                Flag("keep", "keep the best checkpoint of so many trials; default 3", None, "INT"),
                Flag("dry-run", "only tell", None, None),
                _STORAGE,
            ),
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
            "cluster",
            "render TARGET (compose, kuberay, slurm, on-premise, aws, image) or check FOLDER",
            ("ACTION", "TARGET?"),
            (
                Flag("set", "one value, as workers=3 (may be repeated)", None, "KEY=VALUE"),
                Flag("values", "YAML file of values", None, "FILE"),
                Flag("out", "folder to write; default paceline-TARGET", None, "DIR"),
                Flag("force", "overwrite what is there", None, None),
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
    positional = " ".join(map(_usage, verb.positional))
    flags = [*verb.flags, *COMMON]
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


def _usage(name: str) -> str:
    """A positional argument as a usage line shows it."""
    if name.endswith("?"):
        return f"[{name[:-1]}]"
    if name.endswith("*"):
        return f"[{name[:-1]}...]"
    return f"{name[:-1]} [{name[:-1]}...]" if name.endswith("+") else name

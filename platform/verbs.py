"""The command's verbs, as one table; `--help` is written from it."""

from __future__ import annotations

from dataclasses import dataclass

from . import flags
from .flags import Flag


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
        takes_verb: Whether another verb's whole command line stands behind it.
    """

    name: str
    help: str
    positional: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    takes_keys: bool = False
    takes_more: bool = False
    takes_verb: bool = False


VERBS = {
    verb.name: verb
    for verb in (
        Verb("list", "what can be run: recipes, models, data, optimizers, ...", ("KIND?",)),
        Verb(
            "fit",
            "train once",
            ("RECIPE",),
            (*flags.RECIPE, *flags.SEEDS, *flags.CONFIG, *flags.CKPT),
            True,
        ),
        Verb(
            "validate",
            "measure on the validation set",
            ("NAME",),
            (*flags.RECIPE, *flags.CONFIG, *flags.CKPT),
            True,
        ),
        Verb(
            "test",
            "measure on the test set",
            ("NAME",),
            (*flags.RECIPE, *flags.CONFIG, *flags.CKPT),
            True,
        ),
        Verb(
            "predict",
            "write predictions for the test set, or tell what pictures show",
            ("NAME", "IMAGE*"),
            (*flags.RECIPE, *flags.CONFIG, *flags.CKPT, *flags.PREDICT),
            True,
        ),
        Verb(
            "sample",
            "let a trained module make text or pictures; flags are its own (--seed, --prompt, ...)",
            ("NAME",),
            (*flags.RECIPE, *flags.CKPT, flags.STORAGE),
            True,
            True,
        ),
        Verb(
            "inspect", "a network's layers: shapes, parameters, cost", ("RECIPE",), flags.LOOK, True
        ),
        Verb("check", "try one batch; --gradients: check them", ("RECIPE",), flags.CHECK, True),
        Verb("bench", "measure: networks (their time against their cost)", ("WHAT",), flags.BENCH),
        Verb(
            "sweep",
            "search over a recipe's space",
            ("RECIPE",),
            (*flags.RECIPE, *flags.SWEEP, *flags.CONFIG),
            True,
        ),
        Verb(
            "plan",
            "what a sweep would take: time, room, disk; starts nothing",
            ("RECIPE",),
            (*flags.RECIPE[1:], *flags.PLAN, *flags.CONFIG),
            True,
        ),
        Verb("resume", "go on with an interrupted sweep or run", ("NAME",), flags.GO_ON, True),
        Verb(
            "extend",
            "add trials to a sweep",
            ("NAME",),
            (Flag("trials", "how many more", None, "INT"), *flags.GO_ON),
            True,
        ),
        Verb("reconcile", "mend a sweep's record after a crash", ("NAME",), (flags.STORAGE,)),
        Verb(
            "show",
            "table and best trial of a sweep, or a run's result",
            ("NAME",),
            (flags.STORAGE,),
        ),
        Verb(
            "status", "how all runs and sweeps stand, or one of them", ("NAME?",), (flags.STORAGE,)
        ),
        Verb(
            "stop",
            "end a sweep or a run in order, and wait until it has",
            ("NAME",),
            (Flag("timeout", "how long to wait; default 60", None, "SECONDS"), flags.STORAGE),
        ),
        Verb(
            "logs",
            "what a trial wrote (a number or best), or the sweep's own process",
            ("NAME", "TRIAL?"),
            (
                Flag("lines", "the last so many lines; default 100", None, "INT"),
                Flag("follow", "go on until it is over", None, None),
                flags.STORAGE,
            ),
        ),
        Verb(
            "why",
            "why a trial stopped or failed, or what it waits for",
            ("NAME", "TRIAL"),
            (flags.STORAGE,),
        ),
        Verb(
            "sync",
            "upload what an outage of the tracking store held up",
            ("NAME?",),
            (flags.STORAGE,),
        ),
        Verb("compare", "sweeps and runs side by side", ("NAME", "OTHER+"), (flags.STORAGE,)),
        Verb(
            "clean",
            "delete checkpoints of sweeps that nobody needs",
            ("NAME?",),
            (
                Flag("keep", "keep the best checkpoint of so many trials; default 3", None, "INT"),
                Flag("dry-run", "only tell", None, None),
                flags.STORAGE,
            ),
        ),
        Verb(
            "promote",
            "train a sweep's two best again with several seeds, register the better as a model",
            ("SWEEP",),
            flags.PROMOTE,
        ),
        Verb(
            "serve",
            "answer MLflow's scoring protocol with a registered model, or a run's",
            ("MODEL",),
            flags.SERVE,
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
            "submit",
            "run fit, sweep, resume, ... as a job of a cluster; follow JOB: see one again",
            ("VERB?", "WORD*"),
            flags.SUBMIT,
            takes_verb=True,
        ),
        Verb("cancel", "end a job in order, and wait until it has", ("JOB",), flags.CANCEL),
        Verb(
            "cluster",
            "render TARGET (compose, kuberay, slurm, on-premise, aws, image), check FOLDER, or "
            "one on this machine: up, status, env, kill NODE, down",
            ("ACTION", "TARGET?"),
            (*flags.CLUSTER, *flags.CLUSTER_UP),
        ),
        Verb("doctor", "is all well here, or on a cluster? with remedies", (), flags.DOCTOR),
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
    taken = [*verb.flags, *flags.COMMON]
    shown = [f"--{f.name}" + (f" {f.metavar}" if f.metavar else "") for f in taken]
    width = max(map(len, shown)) + 2
    lines = [f"paceline {verb.name} {positional}: {verb.help}", ""]
    lines += [f"  {s:<{width}}{f.help}" for s, f in zip(shown, taken, strict=True)]
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

"""Whatever is wrong with the input: one message, the right exit code, and nothing left behind.

Each row is a command line, with the files it needs planted before it, what its one message must
tell, and the place that it must name. All rows hold to the same rules, which `refuse` checks.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

FIT = ("fit", "mlp", "--trainer.max_epochs", "1", "--tracking.log_model", "false")
SWEEP = ("sweep", "mlp", "--trials", "2")
GOOD = (
    "model: {class_path: MLP}\ndata: {class_path: digits}\n"
    "optimizer: {class_path: Adam}\ntrainer: {max_epochs: 1}\n"
)
# "`x` must be RULE, but is VALUE.", and its like for files and for what is missing.
GRAMMAR = re.compile(r"must (be|have|hold|name|run)\b.*\bbut ", re.S)

Row = tuple[tuple[Any, ...], str, str]  # argv, what is told, the place that is named


def state_of(home: Path) -> tuple[list[str], int, list[str]]:
    """Folders of runs, number of MLflow runs, artifacts: what a refused command leaves alone."""
    folders = sorted(p.name for p in (home / "runs").glob("*"))
    files = sorted(p.as_posix() for p in (home / "artifacts").rglob("*"))
    with sqlite3.connect(home / "mlflow.db") as store:
        (count,) = store.execute("SELECT count(*) FROM runs").fetchone()
    store.close()
    return folders, count, files


Refuse = Callable[..., dict[str, str]]


@pytest.fixture
def refuse(run_command, paceline_home: Path) -> Refuse:
    """Runs a command line that must be refused, checks what holds for all, returns its error."""

    def call(*argv: object, told: str = "", place: str = "") -> dict[str, str]:
        before = state_of(paceline_home)
        answer = run_command(*argv, "--json")
        error = answer.json["error"]
        assert answer.code == 2, answer
        assert set(error) == {"what", "where", "remedy"}
        assert GRAMMAR.search(error["what"]), error
        assert told in " ".join([error["what"], error["remedy"]]), error
        assert place in " ".join([error["where"], error["what"]]), error
        assert error["where"] or re.search(r"`(--|-|[A-Z]+`|\$|arguments|ckpt_path)", error["what"])
        assert f"paceline: {error['what'].splitlines()[0]}" in answer.err
        assert "Traceback" not in answer.err
        assert "Warning" not in answer.err
        assert state_of(paceline_home) == before
        return error

    return call


COMMAND_LINES: list[Row] = [
    (("fti", "mlp"), "fit", "VERB"),
    (("",), "valid names are", "VERB"),
    (("fit",), "must be given, but is missing", "RECIPE"),
    (("fit", "mpl"), "mlp", "RECIPE"),
    (("fit", "nothing-like-it"), " more", "RECIPE"),
    (("fit", "no/such/file.yaml"), "file that exists", "no/such/file.yaml"),
    (("fit", "x" * 5000 + ".yaml"), "file that exists", "xxx.yaml"),
    (("fit", "."), "known name", "RECIPE"),
    (("fit", "./"), "file that exists", "./"),
    (("fit", "/dev/zero"), "file that exists", "/dev/zero"),
    (("fit", "mlp", "linear"), "at most 1", "linear"),
    ((*FIT, "--sed", "1"), "--seed", "--sed"),
    ((*FIT, "-s", "1"), "--seed", "-s"),
    ((*FIT, "--seed"), "followed by a value", "--seed"),
    ((*FIT, "--seed", "--quiet"), "followed by a value", "--seed"),
    ((*FIT, "--help=yes"), "without a value", "--help"),
    ((*FIT, "--name", ""), "followed by nothing", "--name"),
    ((*FIT, "--.lr", "1"), "known name", "--.lr"),
    ((*FIT, "--optimizer..lr", "1"), "--optimizer", "--optimizer..lr"),
    ((*FIT, "--seeds", "0"), "an integer >= 1", "--seeds"),
    ((*FIT, "--seeds", "many"), "an integer >= 1", "--seeds"),
    ((*FIT, "--name", "../x"), "letters, digits", "--name"),
    ((*FIT, "--name", "/etc/x"), "letters, digits", "--name"),
    ((*FIT, "--name", "a b"), "letters, digits", "--name"),
    ((*FIT, "--name", "x" * 101), "at most 100", "--name"),
    (("list", "recipees"), "recipes", "KIND"),
    (("list", "--seed", "1"), "known name", "--seed"),
    (("completion", "tcsh"), "zsh", "SHELL"),
    (("data", "lst"), "list", "ACTION"),
    (("data", "get"), "must be given", "NAME"),
    (("data", "verify", "mnsit"), "mnist", "NAME"),
    (("show", "no-such-run"), "known name", "NAME"),
    (("show", "../../etc"), "letters, digits", "name"),
    (("test", "mlp"), "must be given", "--ckpt_path"),
    (("predict", "linear"), "must be given", "--ckpt_path"),
    (("validate", "no-such-run"), "known name", "NAME"),
    (("ui", "--port", "0"), "an integer >= 1", "--port"),
    (("ui", "--port", "99999"), "from 1 to 65535", "--port"),
    (("ui", "--tracking-uri", "mlruns"), "given up file stores", "--tracking-uri"),
]

VALUES: list[Row] = [
    ((*FIT, "--seed", "x"), "bool or int", "--seed"),
    ((*FIT, "--seed", "-1"), "from 0 to 4294967295", "--seed"),
    ((*FIT, "--seed", "1.5"), "bool or int", "--seed"),
    ((*FIT, "--seed", "99999999999"), "from 0 to 4294967295", "--seed"),
    ((*FIT, "--optimizer.lr", "-0.1"), "finite number >= 0", "--optimizer.lr"),
    ((*FIT, "--optimizer.lr", ".nan"), "finite number", "--optimizer.lr"),
    ((*FIT, "--optimizer.lr", "nan"), "type float", "--optimizer.lr"),
    ((*FIT, "--optimizer.lr", ".inf"), "finite number", "--optimizer.lr"),
    ((*FIT, "--optimizer.lr", "-.inf"), "finite number", "--optimizer.lr"),
    ((*FIT, "--optimizer.lr", "fast"), "type float", "--optimizer.lr"),
    ((*FIT, "--optimizer.lr", "[0.1]"), "type float", "--optimizer.lr"),
    ((*FIT, "--optimizer.lr", "{a: 1}"), "type float", "--optimizer.lr"),
    ((*FIT, "--optimizer.lr", "null"), "type float", "--optimizer.lr"),
    ((*FIT, "--optimizer.lr", "true"), "type float", "--optimizer.lr"),
    ((*FIT, "--optimizer.betas", "[0.9]"), "a list of 2 values", "--optimizer.betas"),
    ((*FIT, "--optimizer.betas.0", "1.5"), "in [0, 1)", "--optimizer.betas.0"),
    ((*FIT, "--optimizer.betas.7", "0.5"), "an index from 0 to 1", "--optimizer.betas.7"),
    ((*FIT, "--optimizer.weight_decay", "-1"), "finite number >= 0", "--optimizer.weight_decay"),
    ((*FIT, "--optimizer.eps", "-1"), "finite number >= 0", "--optimizer.eps"),
    (
        (*FIT, "--optimizer", "Momentum", "--optimizer.momentum", "1"),
        "in [0, 1)",
        "--optimizer.momentum",
    ),
    ((*FIT, "--model.dropout", "-0.1"), "in [0, 1)", "--model.dropout"),
    ((*FIT, "--model.dropout", "1"), "in [0, 1)", "--model.dropout"),
    ((*FIT, "--model.dropout", ".nan"), "finite number", "--model.dropout"),
    ((*FIT, "--model.dropout", "some"), "type float", "--model.dropout"),
    ((*FIT, "--model.dropout", "null"), "type float", "--model.dropout"),
    ((*FIT, "--model.hidden_sizes", "0"), "type list[int]", "--model.hidden_sizes"),
    ((*FIT, "--model.hidden_sizes", "[0]"), "at least 1", "--model.hidden_sizes"),
    ((*FIT, "--model.hidden_sizes", "[wide]"), "type list[int]", "--model.hidden_sizes"),
    ((*FIT, "--model.hidden_sizes", "[1"), "a YAML value", "--model.hidden_sizes"),
    ((*FIT, "--model.hidden_sizes", "[" * 3000), "nested too deeply", "--model.hidden_sizes"),
    ((*FIT, "--model.hidden_sizes", "2026-01-31"), "type list[int]", "--model.hidden_sizes"),
    ((*FIT, "--model.hidden_sizes.9", "3"), "an index from 0 to 1", "--model.hidden_sizes.9"),
    ((*FIT, "--model.activation", "rleu"), "'relu'", "--model.activation"),
    ((*FIT, "--model.weight_init", "best"), "'kaiming'", "--model.weight_init"),
    ((*FIT, "--model.num_classes", "7"), "as the data has it", "--model.num_classes"),
    ((*FIT, "--model.label_smoothing", "2"), "in [0, 1)", "--model.label_smoothing"),
    ((*FIT, "--model.loss", "svn"), "'svm'", "--model.loss"),
    ((*FIT, "--model.regularizer_weight", "-1"), "0 or above", "--model.regularizer_weight"),
    ((*FIT, "--data.batch_size", "0"), "an integer >= 1", "--data.batch_size"),
    ((*FIT, "--data.batch_size", "2.5"), "type int", "--data.batch_size"),
    ((*FIT, "--data.batch_size", "many"), "type int", "--data.batch_size"),
    ((*FIT, "--data.augmentation", "{nois: 1}"), "noise", "--data.augmentation"),
    ((*FIT, "--data.augmentation", "{noise: -1}"), "at least 0", "--data.augmentation"),
    ((*FIT, "--data.augmentation", "3"), "type dict[str, float]", "--data.augmentation"),
    ((*FIT, "--lr_scheduler.final", "-1"), "in [0, 1]", "--lr_scheduler.final"),
    ((*FIT, "--lr_scheduler.total_steps", "x"), "type int", "--lr_scheduler.total_steps"),
    (
        (*FIT, "--lr-scheduler", "StepDecay", "--lr_scheduler.gamma", "0"),
        "in (0, 1]",
        "--lr_scheduler.gamma",
    ),
    ((*FIT, "--trainer.max_epochs", "-5"), "-1 or an integer >= 0", "--trainer.max_epochs"),
    ((*FIT, "--trainer.max_epochs", "1.5"), "type int", "--trainer.max_epochs"),
    ((*FIT, "--trainer.max_epochs", "many"), "type int", "--trainer.max_epochs"),
    ((*FIT, "--trainer.accelerator", "tpuu"), "tpuu", "--trainer.accelerator"),
    ((*FIT, "--trainer.devices", "0"), "devices", "--trainer.devices"),
    ((*FIT, "--trainer.strategy", "dpp"), "dpp", "--trainer.strategy"),
    ((*FIT, "--trainer.precision", "17"), "'bf16-mixed'", "--trainer.precision"),
    ((*FIT, "--trainer.gradient_clip_val", "-1"), ">= 0", "--trainer.gradient_clip_val"),
    (
        (*FIT, "--trainer.gradient_clip_algorithm", "best"),
        "'norm'",
        "--trainer.gradient_clip_algorithm",
    ),
    ((*FIT, "--trainer.limit_train_batches", "-1"), "-1", "--trainer.limit_train_batches"),
    ((*FIT, "--trainer.callbacks", "[Nope]"), "Callback", "--trainer.callbacks"),
    ((*FIT, "--trainer.max_epochs.x", "1"), "a mapping", "--trainer.max_epochs.x"),
    ((*FIT, "--workers", "0"), "an integer >= 1", "--workers"),
    ((*FIT, "--workers", "two"), "type int", "--workers"),
    ((*FIT, "--cpus-per-worker", "0"), "> 0", "--cpus-per-worker"),
    ((*FIT, "--gpus-per-worker", "-1"), ">= 0", "--gpus-per-worker"),
    ((*FIT, "--weights_only.x", "1"), "type bool", "--weights_only.x"),
]

NAMES: list[Row] = [
    ((*FIT, "--modle.dropout", "0.1"), "known name", "--modle.dropout"),
    ((*FIT, "--model.dropuot", "0.1"), "dropout", "--model.dropuot"),
    ((*FIT, "--optimizer.momentum", "0.1"), "betas", "--optimizer.momentum"),
    ((*FIT, "--trainer.max_epoch", "1"), "max_epochs", "--trainer.max_epoch"),
    ((*FIT, "--launch.num_worker", "1"), "num_workers", "--launch.num_worker"),
    ((*FIT, "--tracking.url", "x"), "uri", "--tracking.url"),
    ((*FIT, "--sweep.trails", "3"), "trials", "--sweep.trails"),
    ((*FIT, "--model", "MPL"), "MLP", "--model"),
    ((*FIT, "--model", "no.such.Model"), "class that can be imported", "--model"),
    ((*FIT, "--model", "torch.nn.Linear"), "subclass of LightningModule", "--model"),
    ((*FIT, "--model", ".."), "module imports", "--model"),
    ((*FIT, "--data", "mnsit"), "mnist", "--data"),
    ((*FIT, "--data", "os.path"), "class that can be imported", "--data"),
    ((*FIT, "--optimizer", "Adma"), "Adam", "--optimizer"),
    ((*FIT, "--optimizer", "torch.optim.Adamm"), "Adam", "--optimizer"),
    ((*FIT, "--optimizer", "torch.nn.Linear"), "subclass of Optimizer", "--optimizer"),
    ((*FIT, "--optimizer", "os.system"), "class that can be imported", "--optimizer"),
    ((*FIT, "--optimizer.class_path", "3"), "a class name", "--optimizer.class_path"),
    ((*FIT, "--optimizer.init_args", "3"), "a mapping", "--optimizer.init_args"),
    ((*FIT, "--lr-scheduler", "CosineDecy"), "CosineDecay", "--lr-scheduler"),
    ((*FIT, "--lr-scheduler", "torch.optim.SGD"), "subclass of LRScheduler", "--lr-scheduler"),
    (
        (*FIT, "--lr-scheduler", "torch.optim.lr_scheduler.StepLR"),
        "`lr_scheduler.step_size` must be given",
        "--lr-scheduler",
    ),
]

PLACES: list[Row] = [
    ((*FIT, "--tracking-uri", "mlruns"), "given up file stores", "--tracking-uri"),
    ((*FIT, "--tracking-uri", "file:/tmp/x"), "given up file stores", "--tracking-uri"),
    ((*FIT, "--tracking-uri", "file:./x"), "given up file stores", "--tracking-uri"),
    ((*FIT, "--tracking-uri", "sqlite:///x.db"), "absolute (four slashes)", "--tracking-uri"),
    ((*FIT, "--tracking-uri", "http://"), "with a host", "--tracking-uri"),
    ((*FIT, "--tracking-uri", "ftp://x"), "the URI of an MLflow store", "--tracking-uri"),
    ((*FIT, "--tracking-uri", "sqlite:////dev/null/x.db"), "can be created", "--tracking-uri"),
    ((*FIT, "--tracking-uri", "sqlite:////etc/passwd"), "not a database", "--tracking-uri"),
    ((*FIT, "--experiment", "x" * 600), "1 to 500 characters", "--experiment"),
    ((*FIT, "--tracking.tags", "[a]"), "type dict", "--tracking.tags"),
    ((*FIT, "--tracking.tags", "{a: 1}"), "type str", "--tracking.tags"),
    ((*FIT, "--tracking.tags", "{a$b: x}"), "named with", "tracking.tags"),
    ((*FIT, "--storage", "/dev/null"), "can be written", "--storage"),
    ((*FIT, "--data", "mnist", "--data.data_dir", "nowhere"), "data get mnist", "--data.data_dir"),
    ((*FIT, "--data", "mnist", "--data.val_size", "60000"), "59999", "--data.val_size"),
    ((*FIT, "--config", "no.yaml"), "a file that can be read", "no.yaml"),
]

CANARY = "touch canary"
FILES: list[tuple[str | bytes, str, str]] = [
    # content of a.yaml, what is told, the place that is named
    ("", "is empty", "a.yaml"),
    ("# only a comment\n", "is empty", "a.yaml"),
    ("null\n", "a mapping of keys", "a.yaml"),
    ("- 1\n", "is a list", "a.yaml"),
    ("hello\n", "is a value", "a.yaml"),
    (bytes(range(256)), "UTF-8", "a.yaml"),
    ("name: caf\xe9\n".encode("latin-1"), "UTF-8", "a.yaml"),
    (GOOD.encode("utf-16"), "UTF-8", "a.yaml"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "UTF-8", "a.yaml"),
    ("a: \0\n", "well-formed YAML", "a.yaml"),
    ("a: " + "x" * 2_000_000, "at most 1000000 bytes", "a.yaml"),
    ("a:\n\tb: 1\n", "well-formed YAML", "a.yaml:2"),
    ("a: [1, 2\n", "well-formed YAML", "a.yaml:2"),
    ("a: b: c\n", "well-formed YAML", "a.yaml:1"),
    ("a: *nowhere\n", "undefined alias", "a.yaml:1"),
    (f"{GOOD}---\n{GOOD}", "another document", "a.yaml:5"),
    (f"{GOOD}model: {{class_path: MLP}}\n", "given twice", "a.yaml:5"),
    ("model:\n  class_path: MLP\n  dropout: 0.1\n  dropout: 0.2\n", "given twice", "a.yaml:4"),
    ("? [1, 2]\n: 3\n", "a plain word", "a.yaml:1"),
    (f"{GOOD}1: 2\n", "a word", "a.yaml"),
    (f"{GOOD}a: !!python/object/apply:os.system ['{CANARY}']\n", "without tags", "a.yaml:5"),
    (f"!!python/object/apply:os.system ['{CANARY}']\n", "a mapping", "a.yaml"),
    (f"{GOOD}a: !!python/object/new:os.system ['{CANARY}']\n", "without tags", "a.yaml:5"),
    (f"{GOOD}a: !!python/name:os.system\n", "without tags", "a.yaml:5"),
    (f"{GOOD}a: !!python/module:antigravity\n", "without tags", "a.yaml:5"),
    (f"{GOOD}a: !mine {{b: 1}}\n", "without tags", "a.yaml:5"),
    (f"{GOOD}a: !!int many\n", "well-formed YAML", "a.yaml"),
    (
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "at most 50000 values",
        "a.yaml",
    ),
    ("a: &a [*a]\n", "deep", "a.yaml:1"),
    ("a: " + "[" * 100 + "]" * 100, "at most 50 deep", "a.yaml:1"),
    ("a: " + "[" * 20_000, "nested too deeply", "a.yaml"),
    ("trainer: {max_epochs: 1}\n", "`model` must be given", "a.yaml"),
    ("model: null\n", "`model` must be given", "a.yaml:1"),
    ("model: [1]\n", "class's name or import path", "a.yaml:1"),
    ("model: {class_path: 3}\n", "class's name or import path", "a.yaml:1"),
    ("model: {dropout: 0.1}\n", "--model package.Class", "a.yaml:1"),
    ("model: {class_path: MLP, init_args: [1]}\n", "a mapping", "a.yaml:1"),
    (GOOD.replace("optimizer: {class_path: Adam}\n", ""), "`optimizer` must be given", "MLP"),
    (
        GOOD.replace("optimizer: {class_path: Adam}", "lr_scheduler: CosineDecay"),
        "`optimizer` must be given",
        "lr_scheduler",
    ),
    (GOOD.replace("data: {class_path: digits}\n", ""), "`in_features`", "a.yaml:1"),
    (GOOD.replace("{max_epochs: 1}", "[1]"), "`trainer` must be a mapping", "a.yaml:4"),
    (f"{GOOD}launch: 3\n", "`launch` must be a mapping", "a.yaml:5"),
    (f"{GOOD}launch: {{num_worker: 2}}\n", "num_workers", "a.yaml:5"),
    (f"{GOOD}tracking: {{uri: mlruns}}\n", "given up file stores", "--tracking-uri"),
    (f"{GOOD}sweep: {{trials: 0}}\n", "an integer from 1 to 1000000", "a.yaml:5"),
    (f"{GOOD}sweep: {{mode: best}}\n", "'min', 'max'", "a.yaml:5"),
    (f"{GOOD}weights_only: false\n", "nothing untrusted is unpickled", "a.yaml:5"),
    (f"{GOOD}config: other.yaml\n", "known name", "a.yaml:5"),
    (f"{GOOD}print_config: true\n", "known name", "a.yaml:5"),
    (f"{GOOD}fit: {{model: 3}}\n", "LightningCLI subclass", "a.yaml:5"),
    (f"{GOOD}my_callback: {{patience: 3}}\n", "LightningCLI subclass", "a.yaml:5"),
]

SPACES: list[tuple[str, str, str]] = [
    # one line of a space, what is told, the knob that is named
    ("optimizer.lr: {choice: []}", "at least one value", "optimizer.lr.choice"),
    ("optimizer.lr: {grid: []}", "at least one value", "optimizer.lr.grid"),
    ("optimizer.lr: {choice: 3}", "at least one value", "optimizer.lr.choice"),
    ("optimizer.lr: {loguniform: [1.0e-1, 1.0e-4]}", "low < high", "optimizer.lr.loguniform"),
    ("optimizer.lr: {uniform: [1, 1]}", "low < high", "optimizer.lr.uniform"),
    ("optimizer.lr: {loguniform: [0, 1]}", "low > 0", "optimizer.lr.loguniform"),
    ("optimizer.lr: {uniform: [1]}", "[low, high]", "optimizer.lr.uniform"),
    ("optimizer.lr: {uniform: [a, b]}", "finite numbers", "optimizer.lr.uniform"),
    ("optimizer.lr: {uniform: [.nan, 1]}", "finite numbers", "optimizer.lr.uniform"),
    ("optimizer.lr: {normall: [0, 1]}", "uniform", "optimizer.lr"),
    ("optimizer.lr: {}", "exactly one distribution", "optimizer.lr"),
    ("optimizer.lr: 3", "a mapping", "optimizer.lr"),
    ("optimizer.lr: {uniform: [0, 1], grid: [1]}", "exactly one distribution", "optimizer.lr"),
    ("optimizer.lr: {choice: [0.1, -1]}", "finite number >= 0", "optimizer.lr"),
    ("optimizer.lr: {choice: [0.1, high]}", "type float", "optimizer.lr"),
    ("model.dropout: {uniform: [0, 1.5]}", "in [0, 1)", "model.dropout"),
    ("model.dropuot: {uniform: [0, 0.5]}", "dropout", "model.dropuot"),
    ("modle.dropout: {uniform: [0, 0.5]}", "known name", "modle.dropout"),
    ("data.batch_size: {randint: [8, 2]}", "low < high", "data.batch_size.randint"),
    ("data.batch_size: {quniform: [8, 64, 0]}", "step", "data.batch_size.quniform"),
    ("data.batch_size: {choice: [8, 2.5]}", "type int", "data.batch_size"),
    ("knob: {to: [], uniform: [0, 1]}", "dotted config keys", "knob.to"),
    ("knob: {to: [optimizer.lr], uniform: [0, 1], odd: 3}", "known name", "knob"),
    ("knob: {to: [optimizer.lr], uniform: [0, 1], when: {no: [1]}}", "known name", "knob.when"),
]

SWEEPS: list[Row] = [
    ((*SWEEP, "--trials", "0"), "an integer from 1 to 1000000", "--trials"),
    ((*SWEEP, "--trials", "100000000"), "an integer from 1 to 1000000", "--trials"),
    ((*SWEEP, "--trials", "many"), "type int", "--trials"),
    ((*SWEEP, "--vary", "learnng_rate"), "learning_rate", "--vary"),
    ((*SWEEP, "--vary", ","), "at least one name", "--vary"),
    ((*SWEEP, "--vary", "momentum", "--optimizer", "Adam"), "can apply", "--vary momentum"),
    ((*SWEEP, "--search", "bayes"), "valid names are: grid, random", "sweep.search"),
    ((*SWEEP, "--scheduler", "hyper"), "'asha', 'hyperband'", "--scheduler"),
    ((*SWEEP, "--mode", "up"), "'min', 'max'", "--mode"),
    ((*SWEEP, "--max-time", "0"), "a number > 0", "--max-time"),
    ((*SWEEP, "--sweep.grace", "0"), "a number > 0", "--sweep.grace"),
    ((*SWEEP, "--sweep.reduction_factor", "1"), "an integer >= 2", "--sweep.reduction_factor"),
    ((*SWEEP, "--sweep.space", "[1]"), "type dict", "--sweep.space"),
    ((*SWEEP, "--sweep.space", "{}"), "at least one knob", "--sweep.space"),
    ((*SWEEP, "--optimizer.lr", "-1"), ">= 0", "--optimizer.lr"),
    (("sweep", "mpl"), "mlp", "RECIPE"),
    (("sweep",), "must be given", "RECIPE"),
]


def name_of(value: object) -> str | None:
    if isinstance(value, tuple) and value[: len(FIT)] == FIT:
        value = value[len(FIT) :]
    return " ".join(map(str, value))[:60] if isinstance(value, tuple) else None


@pytest.mark.parametrize(
    ("argv", "told", "place"), [*COMMAND_LINES, *VALUES, *NAMES, *PLACES], ids=name_of
)
def test_a_wrong_command_line(refuse: Refuse, argv: tuple[str, ...], told: str, place: str):
    refuse(*argv, told=told, place=place)


@pytest.mark.parametrize(("content", "told", "place"), FILES, ids=range(len(FILES)))
def test_a_wrong_file(refuse: Refuse, content: str | bytes, told: str, place: str):
    raw = content if isinstance(content, bytes) else content.encode()
    Path("a.yaml").write_bytes(raw)
    refuse("fit", "a.yaml", told=told, place=place)
    assert not Path("canary").exists()


@pytest.mark.parametrize("tag", ["object/apply", "object/new", "name", "module"])
def test_a_tag_in_a_flag_makes_nothing(refuse: Refuse, tag: str):
    refuse(
        *FIT, "--model.hidden_sizes", f"!!python/{tag}:os.system ['{CANARY}']", told="YAML value"
    )
    assert not Path("canary").exists()


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a sweep needs Ray before it has checked its input; starting it takes seconds."""
    from paceline.tuning.ray_session import RaySession

    def need(session: RaySession) -> Any:
        pytest.fail("Ray is needed before the input was refused")

    monkeypatch.setattr(RaySession, "__enter__", lambda session: session)
    monkeypatch.setattr(RaySession, "nodes", need)


@pytest.mark.parametrize(("argv", "told", "place"), SWEEPS, ids=name_of)
@pytest.mark.usefixtures("no_ray")
def test_a_wrong_sweep(refuse: Refuse, argv: tuple[str, ...], told: str, place: str):
    refuse(*argv, told=told, place=place)


@pytest.mark.parametrize(("line", "told", "place"), SPACES, ids=[row[0] for row in SPACES])
@pytest.mark.usefixtures("no_ray")
def test_a_wrong_space(refuse: Refuse, line: str, told: str, place: str):
    Path("a.yaml").write_text(f"{GOOD}sweep:\n  trials: 2\n  space:\n    {line}\n")
    refuse("sweep", "a.yaml", told=told, place=place)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A home with one finished run, `ok`; tests copy it and then do harm."""
    import paceline

    home = tmp_path_factory.mktemp("trained")
    shutil.copy(empty_store, home / "mlflow.db")
    keys = {"trainer.max_epochs": 1, "tracking.log_model": False, "model.hidden_sizes": [8]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACELINE_HOME", str(home))
        paceline.fit("mlp", name="ok", seed=1, config=keys)
    return home


@pytest.fixture
def ok(trained: Path, paceline_home: Path) -> Path:
    """The folder of the finished run, in a home of its own."""
    for folder in ("runs", "artifacts"):
        shutil.copytree(trained / folder, paceline_home / folder)
    shutil.copy(trained / "mlflow.db", paceline_home)
    for path in (paceline_home / "runs" / "ok").glob("*.json"):
        path.write_text(path.read_text().replace(str(trained), str(paceline_home)))
    return paceline_home / "runs" / "ok"


class Hostile:
    def __reduce__(self):
        return os.system, (CANARY,)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(b"hello world")


def poison(path: Path) -> None:
    torch.save({"state_dict": {"w": Hostile()}}, path)


def pickle_poison(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": Hostile()}))


def hide(path: Path) -> None:
    path.unlink()


HARM = [truncate, flip, empty, garble, poison, pickle_poison, hide]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("verb", ["test", "predict"])
def test_a_harmed_checkpoint_of_a_run(refuse: Refuse, ok: Path, verb: str, harm: Callable):
    harm(ok / "best.ckpt")
    refuse(verb, "ok", told="ckpt_path", place="best.ckpt" if verb == "never" else "ckpt")
    assert not Path("canary").exists()


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("verb", ["test", "fit"])
def test_a_harmed_checkpoint_without_its_digest(
    refuse: Refuse, ok: Path, verb: str, harm: Callable
):
    shutil.copy(ok / "best.ckpt", "lone.ckpt")
    harm(Path("lone.ckpt"))
    argv = (verb, "mlp", "--ckpt_path", "lone.ckpt", "--model.hidden_sizes", "[8]")
    refuse(*argv, told="ckpt_path", place="ckpt")
    assert not Path("canary").exists()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("test", "linear", "--ckpt_path", "best.ckpt"), "checkpoint of this network"),
        (("test", "mlp", "--ckpt_path", "best.ckpt"), "checkpoint of this network"),
        (("fit", "mlp", "--ckpt_path", "best.ckpt"), "checkpoint of this network"),
        (("test", "ok", "--data", "points"), "checkpoint of this network"),
        (("test", "ok", "--model.hidden_sizes", "[9]"), "checkpoint of this network"),
        (("test", "ok", "--ckpt_path", "no.ckpt"), "a file that exists"),
        (("test", "ok", "--model.dropuot", "1"), "dropout"),
        (("fit", "mlp", "--name", "ok"), "a new name"),
        (("show", "okk"), "ok"),
        (
            (*FIT, "--model.hidden_sizes", "[8]", "--ckpt_path", "best.ckpt", "--optimizer", "SGD"),
            "`optimizer` must be the one",
        ),
        (
            (*FIT, "--model.hidden_sizes", "[8]", "--ckpt_path", "weights.ckpt"),
            "to go on from",
        ),
    ],
    ids=name_of,
)
def test_a_run_or_checkpoint_that_does_not_fit(
    refuse: Refuse, ok: Path, argv: tuple[str, ...], told: str
):
    shutil.copy(ok / "best.ckpt", "best.ckpt")
    content = torch.load("best.ckpt", weights_only=True)
    torch.save({"state_dict": content["state_dict"]}, "weights.ckpt")
    refuse(*argv, told=told)


@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"a: [", None])
def test_a_harmed_run_folder(refuse: Refuse, ok: Path, name: str, content: bytes | None):
    if content is None:
        (ok / name).unlink()
    else:
        (ok / name).write_bytes(content)
    refuse("test", "ok", place=name if content is not None or name != "run.json" else "ok")


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/home", "/proc/home"])
@pytest.mark.parametrize("argv", [FIT, ("show", "x"), ("test", "x")], ids=["fit", "show", "test"])
def test_a_home_that_cannot_be_written(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch, place: str, argv: tuple[str, ...]
):
    monkeypatch.setenv("PACELINE_HOME", place)
    refuse(*argv, told="export PACELINE_HOME", place=place)


def test_a_server_that_does_not_answer(refuse: Refuse):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    refuse(*FIT, "--tracking-uri", f"http://127.0.0.1:{port}", told="can be reached")


def test_a_port_that_is_taken(refuse: Refuse):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refuse("ui", "--port", port, told="a free port", place="--port")


def test_a_name_that_a_living_process_holds(refuse: Refuse, paceline_home: Path):
    code = (
        "import sys; from paceline.platform.home import claim\n"
        "with claim('mine'): print('held', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        refuse(*FIT, "--name", "mine", told="no living process", place=f"process {process.pid}")
        process.kill()


IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize(
    ("ending", "content"),
    [("", b""), ("", b"\0\0\x08\x03 cut short"), (".gz", b"\x1f\x8b no gzip"), (".gz", b"")],
)
def test_damaged_files_fail_the_run_that_reads_them(
    run_command, monkeypatch: pytest.MonkeyPatch, paceline_home: Path, name: str, ending, content
):
    planted = Path("data", name)
    planted.mkdir(parents=True)
    for stem in IDX:
        (planted / f"{stem}-ubyte{ending}").write_bytes(content)
    monkeypatch.setenv("PACELINE_DATA", str(planted.parent.absolute()))
    answer = run_command(*FIT, "--data", name, "--name", "bad", "--json")
    error = answer.json["error"]
    assert answer.code == 1
    assert "train-images-idx3-ubyte" in error["what"]
    assert GRAMMAR.search(error["what"])
    assert "delete this file" in error["remedy"]
    assert "Traceback" not in answer.err
    assert statuses(paceline_home) == ["FAILED"]
    assert run_command("data", "verify", name, "--json").code == 1


def statuses(home: Path) -> list[str]:
    with sqlite3.connect(home / "mlflow.db") as store:
        found = [row[0] for row in store.execute("SELECT status FROM runs")]
    store.close()
    return found


def test_a_metric_that_is_never_logged_fails_the_run_at_its_first_validation(
    run_command, paceline_home: Path
):
    answer = run_command(*FIT, "--sweep.metric", "val/acuracy", "--name", "bad", "--json")
    assert answer.code == 1
    assert "a metric that the module logs in validation" in answer.json["error"]["what"]
    assert "val/accuracy, val/loss" in answer.json["error"]["remedy"]
    assert "Traceback" not in answer.err
    assert statuses(paceline_home) == ["FAILED"]
    assert not (paceline_home / "runs" / "bad" / "latest.ckpt").exists()


@pytest.fixture
def theirs(run_command, monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.copy(Path(__file__).parent / "platform" / "theirs.py", Path.cwd())
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    Path("theirs.yaml").write_text("model: theirs.Net\ndata: theirs.Points\n")
    return "theirs.yaml"


@pytest.mark.parametrize(
    ("argv", "told", "place"),
    [
        (("--data", "theirs.Broken"), "get it from the author", "--data"),
        (("--model", "theirs.Sloppy"), "raised LookupError: no such width", "theirs.py:"),
        (("--model", "theirs.Nett"), "Net", "--model"),
        (("--model", "slipshod.Net"), "SyntaxError", "--model"),
        (("--model", "theirs.Points"), "subclass of LightningModule", "--model"),
    ],
)
def test_what_is_wrong_with_a_third_partys_code(
    refuse: Refuse, theirs: str, argv: tuple[str, ...], told: str, place: str
):
    Path("slipshod.py").write_text("class Net(:\n")
    refuse("fit", theirs, *argv, told=told, place=place)


def test_the_table_is_long_enough():
    tables = (COMMAND_LINES, VALUES, NAMES, PLACES, FILES, SPACES, SWEEPS)
    assert sum(map(len, tables)) >= 100


@pytest.mark.parametrize("argv", [("fit",), (*FIT, "--optimizer.lr", "-1"), ("test", "nothing")])
def test_without_json_a_mistake_is_told_on_standard_error_alone(run_command, argv: tuple[str, ...]):
    answer = run_command(*argv)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("paceline: ")

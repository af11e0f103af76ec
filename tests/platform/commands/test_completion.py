from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paceline.platform.commands.completion import complete, script
from paceline.platform.errors import UserError


def test_the_first_word_is_a_verb():
    assert {"show", "status", "stop", "sweep"} <= set(complete(["s"]))
    assert all(verb.startswith("s") for verb in complete(["s"]))
    assert {"fit", "list", "ui"} <= set(complete([""]))
    assert complete([]) == complete([""])


def test_a_recipe_follows_a_verb_that_takes_one():
    assert "mlp" in complete(["fit", "m"])
    assert "mlp" in complete(["sweep", "m"])


def test_a_recipe_may_follow_flags_and_their_values():
    assert "mlp" in complete(["fit", "--seed", "3", "--model.dropout", "0.1", "m"])
    assert "mlp" in complete(["fit", "--seed=3", "--json", "m"])


def test_nothing_follows_the_last_positional_word():
    assert complete(["fit", "mlp", ""]) == []


def test_flags_and_keys_of_the_recipe_are_offered_together():
    offered = complete(["fit", "mlp", "--"])
    assert {"--seed", "--tracking-uri", "--json", "--help"} <= set(offered)
    assert {"--model.dropout", "--optimizer.lr", "--trainer.max_epochs"} <= set(offered)
    assert not any(".space" in name for name in offered)


def test_keys_are_offered_wherever_the_recipe_stands():
    assert "--model.dropout" in complete(["fit", "--seed", "1", "mlp", "--model.d"])


def test_a_verb_without_keys_offers_only_its_flags():
    assert complete(["list", "--"]) == ["--help", "--json"]


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--data", "digits"),
        ("--model", "MLP"),
        ("--optimizer", "Adam"),
        ("--lr-scheduler", "CosineDecay"),
        ("--lr_scheduler", "CosineDecay"),
    ],
)
def test_the_value_of_a_flag_is_a_name_of_its_kind(flag: str, name: str):
    assert name in complete(["fit", "mlp", flag, ""])


@pytest.mark.parametrize("flag", ["--seed", "--name", "--model.dropout", "--tracking-uri"])
def test_a_value_that_has_no_names_is_left_to_the_shell(flag: str):
    assert complete(["fit", "mlp", flag, ""]) == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["data", "v"], ["verify"]),
        (["list", "re"], ["recipes"]),
        (["data", "get", "mnist1"], ["mnist1d"]),
        (["nonsense", ""], []),
    ],
)
def test_other_words_have_their_own_names(words: list[str], offered: list[str]):
    assert complete(words) == offered


def test_runs_are_offered_where_a_name_is_wanted(paceline_home: Path):
    run = paceline_home / "runs" / "mine-1"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    assert complete(["test", "mine"]) == ["mine-1"]
    assert "mlp" in complete(["test", ""])


def test_a_word_that_may_be_repeated_is_offered_again_and_again(paceline_home: Path):
    for name in ("mine-1", "mine-2"):
        run = paceline_home / "runs" / name
        run.mkdir(parents=True)
        (run / "run.json").write_text("{}")
    for before in (["compare"], ["compare", "mine-1"], ["compare", "mine-1", "mine-2", "x"]):
        assert complete([*before, "mi"]) == ["mine-1", "mine-2"]


def test_a_verb_over_what_was_run_offers_no_recipes(paceline_home: Path):
    assert complete(["status", ""]) == []
    assert complete(["compare", "x", ""]) == []


def test_a_home_that_cannot_be_read_spoils_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PACELINE_HOME", "/dev/null/home")
    assert complete(["test", ""]) == []


def test_an_unknown_shell_lists_those_that_are_known():
    with pytest.raises(UserError) as error:
        script("tcsh")
    for shell in ("bash", "zsh", "fish"):
        assert shell in error.value.remedy


def test_bash_completes_what_the_command_offers(tmp_path: Path):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    # The command itself would import the package in each call; what it prints is known above.
    (tmp_path / "paceline").write_text('#!/bin/sh\nprintf "%s\\n" "$*" --model.dropout\n')
    (tmp_path / "paceline").chmod(0o755)
    lines = [
        script("bash"),
        'COMP_WORDS=(paceline fit mlp --mod); COMP_CWORD=3; _paceline; echo "${COMPREPLY[*]}"',
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "complete fit mlp --mod --model.dropout\n"


def test_completing_imports_nothing_heavy():
    code = (
        "import sys; from paceline.__main__ import main; main(['complete', 'fit', 'mlp', '--']);"
        "heavy = {'torch', 'ray', 'mlflow', 'pytorch_lightning'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

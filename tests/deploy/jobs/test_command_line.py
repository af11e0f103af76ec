"""The command inside a job: taken apart, checked, and made fit for the cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from paceline.deploy.jobs.command_line import read_inner, shipped_words, split_words
from paceline.platform.arguments import parse
from paceline.platform.errors import UserError


def test_flags_of_submit_are_told_from_those_of_the_verb():
    words = "--detach sweep mlp --address http://h:1 --trials 4 --exclude=*.md --exclude x --json"
    options, inner = split_words(parse(["submit", *words.split()]))
    assert options == {
        "detach": True,
        "address": "http://h:1",
        "exclude": ["*.md", "x"],
        "json": True,
    }
    assert inner == ["sweep", "mlp", "--trials", "4"]


def test_a_flag_of_submit_without_its_value_is_told():
    with pytest.raises(UserError, match="`--address` must be followed by a value"):
        split_words(parse(["submit", "fit", "mlp", "--address"]))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "`VERB` must be given"),
        (["fitt", "mlp"], "did you mean: fit"),
        (["ui"], "`VERB` must be a known name"),
        (["fit"], "`RECIPE` must be given"),
        (["fit", "mlp", "--zork", "1"], "'--zork'"),
        (["fit", "mlp", "--print-config"], "`--print-config` must be left out"),
    ],
)
def test_what_no_job_can_run_is_told(words: list[str], told: str):
    with pytest.raises(UserError) as caught:
        read_inner(words)
    assert told in str(caught.value)


def test_a_password_in_the_command_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError) as caught:
        read_inner(["fit", "mlp", "--tracking-uri", "postgresql://me:hush@h/db"])
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush-hush")
    with pytest.raises(UserError) as caught:
        read_inner(["fit", "mlp", "--tracking.tags", "{a: hush-hush}"])
    assert "hush-hush" not in str(caught.value)


def test_files_are_named_as_they_lie_in_the_folder_that_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "conf").mkdir()
    for name in ("conf/my.yaml", "more.yaml"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path / "conf")
    more = tmp_path / "more.yaml"
    inner = read_inner(["fit", "my.yaml", f"--config={more}", "--ckpt-path", "/shared/x.ckpt"])
    words = shipped_words(inner, tmp_path.resolve(), ["conf/my.yaml", "more.yaml"])
    assert words == ["fit", "conf/my.yaml", "--config=more.yaml", "--ckpt-path", "/shared/x.ckpt"]


@pytest.mark.parametrize("flag", ["", "--config", "--ckpt-path"])
def test_a_file_that_is_not_sent_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str
):
    (tmp_path / "work").mkdir()
    (tmp_path / "other.yaml").write_text("")
    monkeypatch.chdir(tmp_path / "work")
    words = ["fit", "mlp", flag, "../other.yaml"] if flag else ["fit", "../other.yaml"]
    with pytest.raises(UserError, match="inside the folder that is sent"):
        shipped_words(read_inner(words), (tmp_path / "work").resolve(), [])
    (tmp_path / "work" / "here.yaml").write_text("")
    words = [word.replace("../other", "here") for word in words]
    with pytest.raises(UserError, match="a file that is sent"):
        shipped_words(read_inner(words), (tmp_path / "work").resolve(), [])

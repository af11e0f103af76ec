"""`paceline compare`: the better one by its numbers, at equal spending too, and what differs."""

from __future__ import annotations

import json

import pytest
from paceline.tuning.manage.compare import comparison, differing
from paceline.tuning.manage.contender import Contender
from paceline.tuning.manage.status import Standing


def contender(name: str, curve=(), *, metric="val/loss", mode="min", epochs=None, best=None):
    """A sweep whose best score came about as `curve` says: (epochs, score) each improvement."""
    best = curve[-1][1] if curve else best
    epochs = curve[-1][0] if curve and epochs is None else epochs
    standing = Standing(name, "sweep", "finished", metric=metric, best=best, epochs=epochs)
    return Contender(name, standing, mode, tuple(curve))


def test_the_smaller_score_is_better_under_min_and_the_larger_under_max():
    for mode, winner in (("min", "a"), ("max", "b")):
        found = comparison(
            [contender("a", best=0.1, mode=mode), contender("b", best=0.4, mode=mode)]
        )
        assert found.verdict.better == winner


def test_by_how_much_is_told_to_each_other_one():
    found = comparison(
        [contender("a", best=0.2), contender("b", best=0.1), contender("c", best=0.4)]
    )
    assert found.verdict.better == "b"
    assert found.verdict.by == {
        "a": {"absolute": pytest.approx(0.1), "relative": pytest.approx(0.5)},
        "c": {"absolute": pytest.approx(0.3), "relative": pytest.approx(0.75)},
    }
    assert "b is better: val/loss 0.1, 0.1 (50.0%) below the 0.2 of a" in found.verdict.text


def test_no_share_is_told_of_a_score_of_zero():
    found = comparison([contender("a", best=0.0, mode="max"), contender("b", best=0.5, mode="max")])
    assert found.verdict.by == {"a": {"absolute": 0.5, "relative": None}}


def test_equal_scores_have_no_winner():
    found = comparison([contender("a", best=0.1), contender("b", best=0.1), contender("c", best=1)])
    assert found.verdict.better is None
    assert "a and b are equal" in found.verdict.text


@pytest.mark.parametrize(
    ("other", "what"),
    [({"metric": "val/accuracy"}, "metric"), ({"mode": "max"}, "mode")],
)
def test_different_questions_have_no_winner_but_are_shown(other, what):
    found = comparison([contender("a", [(1, 0.5)]), contender("b", [(1, 0.4)], **other)])
    assert found.verdict.better is None
    assert found.verdict.by == {}
    assert f"their {what} differs" in found.verdict.text
    assert found.at_epochs == {1: {"a": 0.5, "b": 0.4}}


def test_without_a_score_nothing_is_better():
    found = comparison([contender("a", best=0.1), contender("b")])
    assert found.verdict.better is None
    assert "no score of b yet" in found.verdict.text


def test_scores_are_told_at_equal_spending_up_to_the_smaller():
    small = contender("small", [(2, 0.9), (6, 0.5), (8, 0.4)], epochs=8)
    large = contender("large", [(1, 0.8), (7, 0.6), (30, 0.3)], epochs=40)
    found = comparison([small, large])
    assert found.at_epochs == {
        2: {"small": 0.9, "large": 0.8},
        4: {"small": 0.9, "large": 0.8},
        6: {"small": 0.5, "large": 0.8},
        8: {"small": 0.4, "large": 0.6},
    }


def test_who_spent_more_is_not_called_better_without_a_word():
    small = contender("small", [(8, 0.4)], epochs=8)
    large = contender("large", [(7, 0.6), (30, 0.3)], epochs=40)
    found = comparison([small, large])
    assert (found.verdict.better, found.verdict.ahead) == ("large", "small")
    assert "But at equal spending, 8 epochs, small was: 0.4." in found.verdict.text


def test_who_is_better_at_equal_spending_too_needs_no_word():
    found = comparison([contender("a", [(2, 0.1)]), contender("b", [(2, 0.5), (9, 0.4)])])
    assert found.verdict.ahead == "a"
    assert "But" not in found.verdict.text


def test_a_sweep_without_an_epoch_has_no_course():
    assert comparison([contender("a", [(2, 0.1)]), contender("b")]).at_epochs == {}


def test_only_what_differs_is_told():
    values = {"a": {"x": 1, "y": [1, 2], "only": 0}, "b": {"x": 1, "y": [1, 3]}}
    assert differing(values) == {"y": {"a": [1, 2], "b": [1, 3]}, "only": {"a": 0, "b": None}}
    assert differing({"a": {"x": 1}}) == {}


@pytest.fixture
def two(tell):
    first = tell("first")
    first.trial(0, [0.9, 0.5], "finished/completed")
    first.trial(1, [0.7], "finished/early_stopped")
    first.close("finished", seconds=20.0)
    second = tell("second")
    for number, score in enumerate([0.8, 0.6, 0.4, 0.7]):
        second.trial(number, [score], "finished/completed")
    second.close("finished", seconds=5.0)
    path = second.folder / "config.yaml"
    path.write_text(path.read_text().replace("uniform: [0.0, 0.5]", "uniform: [0.0, 0.3]"))


@pytest.mark.usefixtures("two")
def test_two_sweeps_stand_side_by_side(run_command):
    answer = run_command("compare", "first", "second", "--json")
    assert answer.code == 0, answer.err
    told = answer.json
    assert [c["name"] for c in told["contenders"]] == ["first", "second"]
    first, second = told["contenders"]
    assert (first["best"], first["best_trial"], first["epochs"], first["seconds"]) == (
        0.5,
        "000",
        3,
        20,
    )
    assert (second["best"], second["best_trial"], second["trials"]) == (0.4, "002", 4)
    assert (told["better"], told["by"]["first"]["absolute"]) == ("second", pytest.approx(0.1))
    assert told["at_epochs"][-1] == {"epochs": 3, "best": {"first": 0.5, "second": 0.4}}
    assert told["settings"]["optimizer.lr"] == {"first": 0.001, "second": 0.003}
    assert told["settings"]["seed_everything"] == {"first": 100, "second": 102}
    assert set(told["settings"]) == {"optimizer.lr", "seed_everything"}  # the rest is equal
    assert told["spaces"] == {
        "dropout": {"first": {"uniform": [0.0, 0.5]}, "second": {"uniform": [0.0, 0.3]}}
    }
    text = run_command("compare", "first", "second").out
    assert "best at 3 epochs" in text
    assert text.splitlines()[-1] == told["verdict"]


@pytest.mark.usefixtures("two")
def test_the_best_trials_own_config_counts_where_it_was_kept(run_command, paceline_home):
    folder = paceline_home / "runs" / "first" / "trials" / "000"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("optimizer: {init_args: {lr: 0.5}}\n")
    told = run_command("compare", "first", "second", "--json").json
    assert told["settings"]["optimizer.lr"]["first"] == 0.5


@pytest.mark.usefixtures("two")
def test_a_single_run_is_compared_with_a_sweep(run_command, write_run):
    write_run("one", metrics={"val/loss": 0.3})
    told = run_command("compare", "second", "one", "--json").json
    assert told["better"] == "one"
    assert told["contenders"][1]["epochs"] is None
    assert told["at_epochs"] == []
    assert told["spaces"] == {}
    assert told["settings"]["optimizer.lr"] == {"second": 0.003, "one": 0.002}


def test_runs_with_several_seeds_tell_their_interval(run_command, write_run):
    write_run("a", kind="seeds", metrics={"val/loss": 0.3, "val/loss_ci95": 0.02})
    write_run("b", kind="seeds", metrics={"val/loss": 0.4, "val/loss_ci95": None})
    answer = run_command("compare", "a", "b")
    assert "0.3 +- 0.02" in answer.out
    assert "0.4 +-" not in answer.out


@pytest.mark.usefixtures("two")
def test_more_than_two_may_be_compared(run_command, write_run):
    write_run("one", metrics={"val/loss": 0.45})
    told = run_command("compare", "first", "one", "second", "--json").json
    assert told["better"] == "second"
    assert set(told["by"]) == {"first", "one"}


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["first"], "OTHER"),
        (["first", "first"], "given twice"),
        (["first", "secnd"], "second"),
        ([], "NAME"),
    ],
)
def test_what_is_wrong_is_named(run_command, names, told):
    answer = run_command("compare", *names, "--json")
    assert answer.code == 2
    assert told in json.dumps(answer.json["error"])


def test_sweeps_of_another_storage_are_compared(run_command, tell, tmp_path):
    for name, score in (("a", 0.5), ("b", 0.4)):
        story = tell(name, storage=tmp_path / "disk")
        story.trial(0, [score], "finished/completed")
        story.close("finished")
    assert run_command("compare", "a", "b", "--storage", tmp_path / "disk").code == 0
    assert run_command("compare", "a", "b").code == 2

"""`paceline why` as a user types it."""

from __future__ import annotations

import pytest


@pytest.fixture
def story(tell):
    story = tell("mine")
    story.trial(0, [0.2, 0.1], "finished/completed")
    story.trial(1, [0.9])
    verdict = {"rung": 1.0, "value": 0.9, "cutoff": 0.2, "rank": 2, "of": 2, "stops": True}
    story.journal.write("verdict", 1, rule="asha", **verdict)
    story.journal.write("end", 1, status="finished", stop_reason="early_stopped")
    story.trial(2, [0.5], "failed", error="ValueError: no such width")
    story.trial(3, [0.15])
    return story


def test_a_stopped_trial_is_explained(run_command, story):
    story.close("finished")
    answer = run_command("why", "mine", "1", "--json")
    assert answer.code == 0, answer.err
    told = answer.json
    assert (told["name"], told["trial_id"], told["run_id"]) == ("mine", "001", "run-1")
    assert told["outcome"] == "stopped"
    assert (told["rung"], told["verdict"]["cutoff"]) == (1.0, 0.2)
    assert "worse than the cutoff of 0.2 (rank 2 of 2)" in told["why"]
    assert run_command("why", "mine", "001").out.startswith(told["why"])


def test_a_failed_trial_says_where_to_read_on(run_command, story):
    folder = story.trial_folder(2)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("Traceback ...\n")
    story.close("finished")
    text = run_command("why", "mine", "2").out
    assert "ValueError: no such width" in text
    assert "paceline logs mine 002" in text
    assert "exception.txt of run run-2" in text
    assert run_command("why", "mine", "2", "--json").json["log"] == str(folder / "log.txt")


def test_the_rungs_are_those_of_the_sweeps_config(run_command, story, hold):
    """Grace 1, factor 3, horizon 27: trial 3 was not judged at 1 and stands there."""
    story.close("running")
    hold(story.folder)
    told = run_command("why", "mine", "3", "--json").json
    assert (told["outcome"], told["next_rung"], told["cutoff"]) == ("running", 1.0, 0.5)


def test_a_trial_of_a_dead_sweep_says_how_to_go_on(run_command, story):
    story.close("running")
    answer = run_command("why", "mine", "3")
    assert "1 epoch when the sweep's process died" in answer.out
    assert "paceline resume mine" in answer.out
    assert run_command("why", "mine", "best", "--json").json["trial_id"] == "000"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mine", "9"], "there are 000 to 003"),
        (["mien", "1"], "mine"),
        (["mine"], "paceline why NAME TRIAL"),
    ],
)
def test_what_is_wrong_is_named(run_command, story, words, told):
    story.close("finished")
    answer = run_command("why", *words, "--json")
    assert answer.code == 2
    assert told in answer.json["error"]["remedy"]


def test_a_single_run_has_no_trials(run_command, write_run):
    write_run("one")
    answer = run_command("why", "one", "0", "--json")
    assert answer.code == 2
    assert "must be a sweep" in answer.json["error"]["what"]


def test_a_sweep_without_a_score_has_no_best(run_command, tell):
    story = tell("blank")
    story.trial(0)
    story.close("finished")
    answer = run_command("why", "blank", "best", "--json")
    assert answer.code == 2
    assert "none of 1 has a finite val/loss" in answer.json["error"]["what"]


def test_a_config_that_is_gone_is_told(run_command, story):
    story.close("finished")
    (story.folder / "config.yaml").unlink()
    answer = run_command("why", "mine", "1", "--json")
    assert answer.code == 2
    assert "config.yaml" in answer.json["error"]["where"]

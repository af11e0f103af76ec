"""`paceline status`: true of every folder, whatever its process or its disk did to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def only(answer) -> dict:
    (run,) = answer.json["runs"]
    return run


def test_an_empty_home_has_no_runs(run_command, paceline_home: Path):
    answer = run_command("status", "--json")
    assert answer.code == 0
    assert answer.json == {"runs": [], "storage": str(paceline_home / "runs")}
    assert str(paceline_home / "runs") in run_command("status").out


def test_a_finished_sweep_is_told_in_numbers(run_command, tell):
    story = tell("done")
    story.trial(0, [0.9, 0.5], "finished/completed")
    story.trial(1, [0.7], "finished/early_stopped")
    story.checkpoints(0, 1, size=500)
    story.close("finished", seconds=12.5)
    run = only(run_command("status", "--json"))
    assert (run["name"], run["kind"], run["status"]) == ("done", "sweep", "finished")
    assert (run["over"], run["total"], run["epochs"]) == (2, 2, 3)
    assert (run["metric"], run["best"], run["best_trial"]) == ("val/loss", 0.5, "000")
    assert (run["seconds"], run["eta_s"], run["pid"]) == (12.5, None, None)
    assert run["checkpoint_bytes"] == 4 * 500 + 4 * 65
    assert run["living"] == []
    (line,) = [x for x in run_command("status").out.splitlines() if x.startswith("done")]
    assert {"finished", "2/2", "0.5", "2.26", "kB"} <= set(line.split())


def test_a_sweep_that_is_driven_runs_and_has_living_trials(run_command, tell, hold):
    story = tell("busy")
    story.trial(0, [0.9], "finished/completed")
    story.trial(1, [0.8, 0.6])
    story.waiting(2)
    story.close("running")
    process = hold(story.folder)
    run = only(run_command("status", "busy", "--json"))
    assert (run["status"], run["pid"], run["remedy"]) == ("running", process.pid, "")
    assert (run["over"], run["total"]) == (1, 8)  # as many as the config asks for
    assert run["eta_s"] is not None
    assert [(t["trial_id"], t["status"], t["epoch"], t["score"]) for t in run["living"]] == [
        ("001", "running", 2, 0.6),
        ("002", "pending", 0, None),
    ]
    text = run_command("status", "busy").out
    assert f"busy: sweep running, process {process.pid}" in text
    assert "1 of 8 are over, 3 epochs" in text


def test_a_sweep_whose_process_died_is_interrupted_and_says_how_to_go_on(run_command, tell):
    story = tell("dead")
    story.trial(0, [0.9])
    story.close("running")
    run = only(run_command("status", "--json"))
    assert (run["status"], run["eta_s"], run["pid"]) == ("interrupted", None, None)
    assert run["remedy"] == "paceline resume dead"
    assert run["living"][0]["status"] == "interrupted"
    assert "dead was interrupted: paceline resume dead" in run_command("status").out


def test_the_time_of_a_dead_sweep_stands_still(run_command, tell):
    story = tell("dead")
    story.trial(0, [0.9])
    story.close("running")
    first, second = (only(run_command("status", "--json")) for _ in range(2))
    assert first["seconds"] == second["seconds"]
    assert first["living"] == second["living"]


def test_a_killed_sweep_that_is_being_resumed_needs_no_resume(run_command, tell, hold):
    story = tell("again")
    story.trial(0, [0.9], "killed")
    story.close("killed")
    run = only(run_command("status", "--json"))
    assert (run["remedy"], run["over"]) == ("paceline resume again", 0)  # the trial goes on, too
    hold(story.folder)
    assert only(run_command("status", "--json"))["remedy"] == ""


def test_more_trials_that_were_asked_for_count(run_command, tell):
    story = tell("wider")
    story.trial(0, [0.9], "finished/completed")
    story.journal.write("extend", trials=20)
    story.close("running")
    assert only(run_command("status", "--json"))["total"] == 20


def test_a_single_run_is_told_by_its_state(run_command, write_run, hold):
    folder = write_run("one", metrics={"val/loss": 0.25, "val/accuracy": 0.9})
    (folder / "best.ckpt").write_bytes(b"x" * 10)
    run = only(run_command("status", "--json"))
    assert (run["kind"], run["status"], run["seconds"]) == ("fit", "finished", 3.0)
    assert (run["metric"], run["best"], run["total"]) == ("val/loss", 0.25, None)
    assert run["checkpoint_bytes"] == 10


def test_the_newest_stands_first(run_command, tell, write_run):
    old = write_run("old")
    os.utime(old / "config.yaml", (1000, 1000))
    tell("new").close("finished")
    older = write_run("older")
    os.utime(older / "config.yaml", (500, 500))
    runs = run_command("status", "--json").json["runs"]
    assert [run["name"] for run in runs] == ["new", "old", "older"]


def test_another_storage_is_looked_at(run_command, tell, tmp_path: Path):
    tell("there", storage=tmp_path / "disk").close("running")
    answer = run_command("status", "--storage", tmp_path / "disk", "--json")
    assert only(answer)["remedy"] == f"paceline resume there --storage {tmp_path / 'disk'}"
    assert answer.json["storage"] == str(tmp_path / "disk")
    assert run_command("status", "--json").json["runs"] == []


def test_a_storage_that_is_not_there_is_named(run_command, tmp_path: Path):
    answer = run_command("status", "--storage", tmp_path / "nowhere", "--json")
    assert answer.code == 2
    assert "--storage" in answer.json["error"]["what"]


def test_a_wrong_name_gives_the_nearest(run_command, tell):
    tell("mlp-20260131-1").close("finished")
    answer = run_command("status", "mlp-20260131-2", "--json")
    assert answer.code == 2
    assert "mlp-20260131-1" in answer.json["error"]["remedy"]


def drop_state(story) -> None:
    (story.folder / "run.json").unlink()


def break_state(story) -> None:
    (story.folder / "run.json").write_text("{")


def empty_state(story) -> None:
    (story.folder / "run.json").write_text("[]")


def forget_metric(story) -> None:
    path = story.folder / "run.json"
    path.write_text(
        json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "metric"})
    )


def edit_journal(story) -> None:
    text = story.journal.path.read_text()
    story.journal.path.write_text(text.replace('"val/loss": 0.9', '"val/loss": 0.1'))


def drop_journal(story) -> None:
    story.journal.path.unlink()


@pytest.mark.parametrize(
    "damage", [drop_state, break_state, empty_state, forget_metric, edit_journal, drop_journal]
)
def test_a_damaged_folder_is_told_and_hides_nothing(run_command, tell, damage):
    tell("sound").close("finished")
    story = tell("harmed")
    story.trial(0, [0.9], "finished/completed")
    story.close("finished")
    damage(story)
    answer = run_command("status", "--json")
    assert answer.code == 0, answer.err
    by_name = {run["name"]: run for run in answer.json["runs"]}
    assert by_name["sound"]["status"] == "finished"
    assert by_name["harmed"]["status"] == "damaged"
    assert by_name["harmed"]["error"]
    assert "harmed is damaged" in run_command("status").out
    assert only(run_command("status", "harmed", "--json"))["status"] == "damaged"


def test_a_state_with_nonsense_in_it_is_damaged(run_command, write_run):
    write_run("odd", metrics={"val/loss": "low"})
    write_run("odder", metrics=[1], seconds="long")
    runs = run_command("status", "--json").json["runs"]
    assert [run["status"] for run in runs] == ["damaged", "damaged"]


def test_a_run_that_just_began_is_starting(run_command, paceline_home: Path, hold):
    folder = paceline_home / "runs" / "young"
    folder.mkdir(parents=True)
    process = hold(folder)
    run = only(run_command("status", "--json"))
    assert (run["status"], run["pid"]) == ("starting", process.pid)


def test_folders_that_are_not_ours_are_left_out(run_command, paceline_home: Path):
    (paceline_home / "runs" / "holiday pictures").mkdir(parents=True)
    (paceline_home / "runs" / "notes.txt").write_text("")
    assert run_command("status", "--json").json["runs"] == []


def test_a_torn_last_line_is_no_damage(run_command, tell):
    story = tell("torn")
    story.trial(0, [0.9])
    story.close("running")
    with story.journal.path.open("a") as file:
        file.write('{"event": "rep')
    assert only(run_command("status", "--json"))["epochs"] == 1


def test_looking_writes_nothing(run_command, tell):
    story = tell("quiet")
    story.trial(0, [0.9])
    story.close("running")
    before = sorted(p.name for p in story.folder.rglob("*"))
    run_command("status")
    assert sorted(p.name for p in story.folder.rglob("*")) == before


@pytest.mark.parametrize(
    "words", [["status"], ["logs", "x"], ["why", "x", "0"], ["compare", "x", "y"], ["clean"]]
)
def test_looking_imports_nothing_heavy(words: list[str], tmp_path: Path, tell):
    for name in ("x", "y"):
        story = tell(name)
        story.trial(0, [0.5], "finished/completed")
        story.close("finished")
        (story.folder / "driver.log").write_text("hello\n")
    code = (
        "import sys; from paceline.__main__ import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'ray', 'mlflow', 'matplotlib', 'pytorch_lightning', 'pandas'};"
        "assert code == 0, code; assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

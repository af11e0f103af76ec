"""`paceline clean`: frees what nobody needs, and never anything else."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from paceline.platform.home import is_held
from paceline.tuning.manage import clean as cleaning
from paceline.tuning.manage.clean import disposable
from paceline.tuning.rows import Rows

BEST, LATEST = "best.ckpt", "latest.ckpt"


def rows_of(*scores: float, mode: str = "min") -> Rows:
    rows = Rows("val/loss", mode)
    for number, score in enumerate(scores):
        rows.apply({"event": "begin", "number": number, "values": {}})
        rows.apply({"event": "start", "number": number, "time": 0.0})
        metrics = {"val/loss": score}
        rows.apply({"event": "report", "number": number, "epoch": 1, "metrics": metrics})
    return rows


def end(rows: Rows, *numbers: int, status: str = "finished") -> Rows:
    for number in numbers:
        rows.apply({"event": "end", "number": number, "status": status, "time": 1.0})
    return rows


@pytest.mark.parametrize(("mode", "best"), [("min", {1, 2}), ("max", {0, 3})])
def test_the_best_keep_their_best_checkpoint(mode, best):
    rows = end(rows_of(0.8, 0.1, 0.2, 0.9, mode=mode), 0, 1, 2, 3)
    found = disposable(rows, 2)
    assert {n for n, names in found.items() if names == (LATEST,)} == best
    assert {n for n, names in found.items() if names == (BEST, LATEST)} == {0, 1, 2, 3} - best


def test_of_equal_trials_the_earlier_is_kept_as_it_is_called_the_best():
    rows = end(rows_of(0.5, 0.5), 0, 1)
    best = rows.best()
    assert best is not None
    assert disposable(rows, 1)[best.number] == (LATEST,)
    assert disposable(rows, 1)[1] == (BEST, LATEST)


def test_a_trial_without_a_score_is_never_among_the_best():
    rows = end(rows_of(math.nan, 0.9, math.inf), 0, 1, 2)
    assert disposable(rows, 3) == {0: (BEST, LATEST), 1: (LATEST,), 2: (BEST, LATEST)}


def test_the_living_are_left_alone_and_take_a_place_among_the_best():
    rows = end(rows_of(0.1, 0.2, 0.3), 1, 2)
    assert disposable(rows, 1) == {1: (BEST, LATEST), 2: (BEST, LATEST)}
    assert disposable(rows, 2) == {1: (LATEST,), 2: (BEST, LATEST)}


def test_who_lives_may_be_said_otherwise():
    rows = end(rows_of(0.1, 0.2), 0, 1)
    assert disposable(rows, 1, lambda row: row.number == 1) == {0: (LATEST,)}


def test_further_trials_may_be_kept():
    rows = end(rows_of(0.1, 0.2, 0.3), 0, 1, 2)
    assert disposable(rows, 1, also=[2])[2] == (LATEST,)


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


def checkpoints(folder: Path) -> set[str]:
    return {name for name in files(folder) if name.endswith(".ckpt")}


def five(tell, name: str = "mine", **how):
    """Five trials that are over, the later the better, each with both checkpoints."""
    story = tell(name, **how)
    for number in range(5):
        story.trial(number, [1.0 - 0.1 * number], "finished/completed")
    story.checkpoints(*range(5))
    for number in range(5):
        (story.trial_folder(number) / "log.txt").write_text("log")
    (story.trial_folder(4) / "config.yaml").write_text("a: 1")
    return story


def test_a_finished_sweep_keeps_the_best_of_three(run_command, tell):
    story = five(tell)
    story.close("finished")
    before = files(story.folder)
    answer = run_command("clean", "mine", "--json")
    assert answer.code == 0, answer.err
    kept = {"trials/002/best.ckpt", "trials/003/best.ckpt", "trials/004/best.ckpt"}
    assert checkpoints(story.folder) == kept
    gone = before - files(story.folder)
    assert all(".ckpt" in name for name in gone)
    assert {f"{name}.sha256" for name in kept} <= files(story.folder)
    (sweep,) = answer.json["sweeps"]
    assert set(sweep["removed"]) == gone
    assert sweep["kept"] == ["002", "003", "004"]
    assert sweep["bytes"] == answer.json["bytes"] == 7 * (1000 + 65)
    assert answer.json["dry_run"] is False


def test_as_many_are_kept_as_are_asked_for(run_command, tell):
    story = five(tell)
    story.close("finished")
    assert run_command("clean", "mine", "--keep", "1").code == 0
    assert checkpoints(story.folder) == {"trials/004/best.ckpt"}
    assert run_command("clean", "mine", "--keep", "0").code == 2


def test_a_second_time_there_is_nothing_left(run_command, tell):
    five(tell).close("finished")
    run_command("clean")
    assert run_command("clean", "--json").json["bytes"] == 0


def test_a_dry_run_only_tells(run_command, tell):
    story = five(tell)
    story.close("finished")
    before = files(story.folder)
    answer = run_command("clean", "--dry-run", "--json")
    assert files(story.folder) == before
    assert answer.json["bytes"] == 7 * 1065
    assert "would be freed" in run_command("clean", "--dry-run").out


@pytest.mark.parametrize("status", ["running", "killed", "failed"])
def test_a_sweep_that_can_go_on_keeps_what_it_goes_on_from(run_command, tell, status):
    story = five(tell)
    story.trial(5, [2.0])
    story.trial(6, [3.0], "killed")
    story.checkpoints(5, 6)
    story.close(status)
    (sweep,) = run_command("clean", "mine", "--keep", "1", "--json").json["sweeps"]
    living = {f"trials/{n}/{c}" for n in ("005", "006") for c in (BEST, LATEST)}
    assert checkpoints(story.folder) == living | {"trials/004/best.ckpt"}
    assert sweep["living"] == ["005", "006"]


def test_a_sweep_that_runs_is_cleaned_around_its_living(run_command, tell, hold):
    story = five(tell)
    story.trial(5, [2.0])
    story.checkpoints(5)
    (story.trial_folder(5) / ".latest.ckpt.new").write_text("being written")
    story.close("running")
    hold(story.folder)
    before = files(story.trial_folder(5))
    assert run_command("clean", "mine", "--keep", "1").code == 0
    assert files(story.trial_folder(5)) == before
    assert checkpoints(story.folder) - {f"trials/005/{c}" for c in (BEST, LATEST)} == {
        "trials/004/best.ckpt"
    }


@pytest.mark.parametrize("status", ["running", "finished"])
def test_a_trial_whose_process_still_writes_is_left_alone(run_command, tell, hold, status):
    """It is over for the journal, but its process has not let go of its folder."""
    story = five(tell)
    story.close(status)
    hold(story.trial_folder(0))
    before = files(story.trial_folder(0))
    run_command("clean", "mine")
    assert files(story.trial_folder(0)) == before
    assert "trials/001/best.ckpt" not in files(story.folder)


def test_nobody_can_take_a_sweep_up_while_it_is_cleaned(tell, monkeypatch: pytest.MonkeyPatch):
    story = five(tell)
    story.close("killed")
    remove, held = cleaning._remove, []

    def watched(*arguments, **options):
        held.append(is_held(story.folder))
        return remove(*arguments, **options)

    monkeypatch.setattr(cleaning, "_remove", watched)
    cleaning.clean("mine")
    assert held
    assert all(held)
    assert not is_held(story.folder)


def test_what_a_crash_left_of_a_write_goes_too(run_command, tell):
    story = five(tell)
    for name in (".latest.ckpt.new", ".best.ckpt.sha256.4242"):
        (story.trial_folder(4) / name).write_text("torn")
    story.close("finished")
    run_command("clean")
    assert files(story.trial_folder(4)) == {BEST, f"{BEST}.sha256", "config.yaml", "log.txt"}


def test_what_is_not_ours_stays(run_command, tell):
    story = five(tell)
    strangers = [
        story.folder / "best.ckpt",
        story.trial_folder(0) / "epoch=3.ckpt",
        story.trial_folder(0) / "best.ckpt.d" / "latest.ckpt",
        story.trial_folder(0) / "deep" / "best.ckpt",
        story.folder / "trials" / "best.ckpt",
        story.folder / "trials" / "900" / "best.ckpt",
        story.folder / "trials" / "000.old" / "best.ckpt",
    ]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not yours")
    story.close("finished")
    assert run_command("clean").code == 0
    assert [path for path in strangers if not path.exists()] == []


@pytest.mark.parametrize("place", ["trials/000/best.ckpt", "trials/000", "trials", ""])
def test_no_link_is_followed(run_command, tell, tmp_path: Path, place: str):
    story = five(tell)
    story.close("finished")
    here, elsewhere = story.folder / place, tmp_path / "elsewhere"
    here.rename(elsewhere)
    here.symlink_to(elsewhere)
    before = files(elsewhere) if elsewhere.is_dir() else {elsewhere.read_bytes()}
    answer = run_command("clean", "--json")
    assert here.is_symlink()
    after = files(elsewhere) if elsewhere.is_dir() else {elsewhere.read_bytes()}
    assert after == before
    assert answer.code == (1 if place == "" else 0)


def test_every_sweep_of_the_storage_is_cleaned_and_no_single_run(run_command, tell, write_run):
    stories = [five(tell, name) for name in ("a", "b")]
    for story in stories:
        story.close("finished")
    folder = write_run("one")
    for name in (BEST, LATEST):
        (folder / name).write_text("x")
    answer = run_command("clean", "--json")
    assert {sweep["name"] for sweep in answer.json["sweeps"]} == {"a", "b"}
    assert all(len(checkpoints(story.folder)) == 3 for story in stories)
    assert checkpoints(folder) == {BEST, LATEST}


def test_another_storage_is_cleaned(run_command, tell, tmp_path: Path):
    here, there = five(tell, "x"), five(tell, "x", storage=tmp_path / "disk")
    here.close("finished")
    there.close("finished")
    answer = run_command("clean", "x", "--storage", tmp_path / "disk", "--json")
    assert answer.json["storage"] == str(tmp_path / "disk")
    assert len(checkpoints(there.folder)) == 3
    assert len(checkpoints(here.folder)) == 10


def edit(story) -> None:
    path = story.journal.path
    path.write_text(path.read_text().replace('"val/loss": 0.9', '"val/loss": 0.0'))


def drop(story) -> None:
    story.journal.path.unlink()


def drop_state(story) -> None:
    (story.folder / "run.json").unlink()


def drop_config(story) -> None:
    """It may name further objectives, whose front must be kept."""
    (story.folder / "config.yaml").unlink()


@pytest.mark.parametrize("damage", [edit, drop, drop_state, drop_config])
def test_a_damaged_sweep_is_refused_and_the_others_are_cleaned(run_command, tell, damage):
    harmed, sound = five(tell, "harmed"), five(tell, "sound")
    harmed.close("finished")
    sound.close("finished")
    damage(harmed)
    before = files(harmed.folder)
    assert run_command("clean", "harmed", "--json").code == 2
    answer = run_command("clean", "--json")
    assert answer.code == 1
    by_name = {sweep["name"]: sweep for sweep in answer.json["sweeps"]}
    assert by_name["harmed"]["refused"]
    assert files(harmed.folder) - {"lock"} == before
    assert len(checkpoints(sound.folder)) == 3
    assert "harmed was left as it is" in run_command("clean").out


def test_of_several_objectives_the_front_is_kept(run_command, tell):
    story = tell("two")
    for number, (loss, size) in enumerate([(0.1, 9), (0.2, 9), (0.3, 1), (0.4, 5)]):
        story.trial(number, [loss], "finished/completed", facts={"num_parameters": size})
    story.checkpoints(*range(4))
    story.close("finished")
    path = story.folder / "config.yaml"
    path.write_text(path.read_text() + "  objectives: {num_parameters: min}\n")
    run_command("clean", "--keep", "1")
    assert checkpoints(story.folder) == {"trials/000/best.ckpt", "trials/002/best.ckpt"}


def test_a_single_run_by_its_name_is_refused(run_command, write_run):
    folder = write_run("one")
    (folder / BEST).write_text("x")
    answer = run_command("clean", "one", "--json")
    assert answer.code == 2
    assert "must be a sweep" in answer.json["error"]["what"]
    assert (folder / BEST).exists()


def test_a_wrong_name_gives_the_nearest(run_command, tell):
    five(tell).close("finished")
    answer = run_command("clean", "mien", "--json")
    assert answer.code == 2
    assert "mine" in answer.json["error"]["remedy"]


def test_a_home_without_sweeps_needs_no_cleaning(run_command):
    answer = run_command("clean", "--json")
    assert (answer.code, answer.json["sweeps"]) == (0, [])

"""`paceline logs`: the right file, its last lines, and what comes while one looks."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from paceline.tuning.manage import logs
from paceline.tuning.manage.logs import Log, follow, tail


def write(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"line {i}\n" for i in range(count)))


@pytest.fixture
def story(tell):
    story = tell("mine")
    story.trial(0, [0.9], "finished/completed")
    story.trial(1, [0.2], "finished/completed")
    story.trial(2, [0.5])
    story.waiting(3)
    for number in range(3):
        write(story.trial_folder(number) / "log.txt", 200 + number)
    write(story.folder / "driver.log", 5)
    story.close("running")
    return story


@pytest.mark.parametrize(("word", "last"), [("0", 199), ("000", 199), ("1", 200), ("best", 200)])
def test_a_trial_is_named_by_its_number_or_as_the_best(run_command, story, word, last):
    answer = run_command("logs", "mine", word)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert (len(lines), lines[-1]) == (100, f"line {last}")


def test_without_a_trial_the_driver_is_asked(run_command, story):
    answer = run_command("logs", "mine", "--json")
    assert answer.json == {
        "name": "mine",
        "trial_id": None,
        "file": str(story.folder / "driver.log"),
        "lines": [f"line {i}" for i in range(5)],
    }


def test_so_many_lines_are_shown_as_are_asked_for(run_command, story):
    answer = run_command("logs", "mine", "0", "--lines", "3", "--json")
    assert answer.json["lines"] == ["line 197", "line 198", "line 199"]
    assert answer.json["trial_id"] == "000"


@pytest.mark.parametrize("word", ["4", "-x", "99", "first", "1.0", "²"])
def test_an_unknown_trial_tells_which_there_are(run_command, story, word):
    answer = run_command("logs", "mine", word, "--json")
    assert answer.code == 2
    if not word.startswith("-"):
        assert answer.json["error"]["remedy"] == "there are 000 to 003, and best"


def test_a_trial_that_wrote_nothing_is_told(run_command, story):
    answer = run_command("logs", "mine", "3", "--json")
    assert answer.code == 2
    assert "trial 003, which is pending, has no log.txt" in answer.json["error"]["what"]


def test_the_log_of_a_driver_without_a_state_is_shown(run_command, paceline_home: Path):
    """It died before it could write one: then its log is all there is."""
    folder = paceline_home / "runs" / "early"
    write(folder / "driver.log", 1)
    (folder / "lock").touch()
    assert run_command("logs", "early").out == "line 0\n"


def test_a_single_run_has_no_log_of_a_driver(run_command, write_run):
    write_run("one")
    answer = run_command("logs", "one", "--json")
    assert answer.code == 2
    assert "one has no driver.log" in answer.json["error"]["what"]


def test_a_wrong_name_gives_the_nearest(run_command, story):
    answer = run_command("logs", "mien", "--json")
    assert answer.code == 2
    assert "mine" in answer.json["error"]["remedy"]


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("block", [1, 3, 64, 10_000])
@pytest.mark.parametrize("end", ["\n", ""])
def test_the_last_lines_are_found_whatever_the_block(
    tmp_path: Path, monkeypatch, count, block, end
):
    monkeypatch.setattr(logs, "BLOCK_BYTES", block)
    text = "\n".join(["a", "", "bäb", "c" * 10, "", "d"]) + end
    (tmp_path / "log").write_text(text)
    lines, position = tail(tmp_path / "log", count)
    assert lines == ["a", "", "bäb", "c" * 10, "", "d"][-count:]
    assert position == len(text.encode())


def test_an_unfinished_line_is_left_for_later_when_it_is_followed(tmp_path: Path):
    (tmp_path / "log").write_text("a\nb\nhal")
    assert tail(tmp_path / "log", 1, whole=True) == (["b"], 4)
    assert tail(tmp_path / "missing", 1) == ([], 0)
    (tmp_path / "empty").touch()
    assert tail(tmp_path / "empty", 5) == ([], 0)


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path):
    (tmp_path / "log").write_bytes(b"ok\r\n\xff\xfe\n")
    assert tail(tmp_path / "log", 5)[0] == ["ok", "\ufffd\ufffd"]


def collect(path: Path, position: int, steps: list) -> list[str]:
    """What `follow` gives when between two looks the next step happens to the file."""
    todo = list(steps)

    def pause(seconds: float) -> None:
        todo.pop(0)()

    log = Log("x", None, path, lambda: not todo)
    return [line for lines in follow(log, position, pause) for line in lines]


def test_lines_are_followed_when_they_are_whole(tmp_path: Path):
    path = tmp_path / "log"

    def append(text: str):
        return lambda: path.write_text((path.read_text() if path.exists() else "") + text)

    steps = [append("old\nne"), append("w\nanother\nlast"), append(" one")]
    assert collect(path, 0, steps) == ["old", "new", "another", "last one"]


def test_only_what_is_behind_the_position_is_followed(tmp_path: Path):
    (tmp_path / "log").write_text("old\nnew\n")
    assert collect(tmp_path / "log", 4, []) == ["new"]


def test_a_file_that_was_begun_anew_is_followed_from_its_start(tmp_path: Path):
    path = tmp_path / "log"
    path.write_text("a long first attempt\n")
    assert collect(path, 21, [lambda: path.write_text("again\n")]) == ["again"]


def test_a_trial_is_followed_until_it_is_over(run_command, tell, hold):
    story = tell("live")
    story.trial(0, [0.9])
    path = story.trial_folder(0) / "log.txt"
    write(path, 2)
    story.keep_state("running")
    hold(story.folder)

    def go_on() -> None:
        time.sleep(0.5)
        with path.open("a") as file:
            file.write("and more\n")
        time.sleep(0.5)
        story.journal.write("end", 0, status="finished", stop_reason="completed")

    writer = threading.Thread(target=go_on)
    writer.start()
    answer = run_command("logs", "live", "0", "--follow", "--json")
    writer.join()
    story.journal.close()
    assert answer.code == 0, answer.err
    assert answer.json["lines"] == ["line 0", "line 1", "and more"]
    assert "and more" in answer.err  # seen while it was written


def test_a_log_that_is_not_there_yet_is_waited_for(run_command, tell, hold):
    story = tell("live")
    story.waiting(0)
    story.close("running")
    process = hold(story.folder)
    threading.Timer(0.3, write, (story.trial_folder(0) / "log.txt", 1)).start()
    threading.Timer(0.9, process.kill).start()  # and a driver that dies ends the wait
    answer = run_command("logs", "live", "0", "--follow")
    assert (answer.code, answer.out) == (0, "line 0\n")


def test_ctrl_c_ends_the_following_with_the_one_object(tell, hold):
    story = tell("live")
    story.trial(0, [0.9])
    write(story.trial_folder(0) / "log.txt", 2)
    story.close("running")
    hold(story.folder)
    words = [sys.executable, "-m", "paceline", "logs", "live", "0", "--follow", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "line 0\n"
        process.send_signal(2)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out.count("\n") == 1
    assert '"lines": ["line 0", "line 1"]' in out

"""`paceline stop`: real processes, real locks, real signals."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest
from paceline.platform.errors import RunError, UserError
from paceline.tuning.manage import stop as stopping
from paceline.tuning.manage.stop import STOP, stop


def test_a_sweep_is_asked_by_a_file_and_ends(run_command, tell, hold):
    story = tell("busy")
    story.trial(0)
    story.close("running")
    process = hold(story.folder, "polls")
    answer = run_command("stop", "busy", "--timeout", 20, "--json")
    assert answer.code == 0, answer.err
    assert (answer.json["name"], answer.json["status"]) == ("busy", "killed")
    assert process.wait(10) == 0  # by the file, not by a signal
    assert not (story.folder / STOP).exists()
    assert f"process {process.pid}" in answer.err
    assert "000 (epoch 0)" in answer.err


def test_a_sweep_of_another_storage_is_stopped(run_command, tell, hold, tmp_path: Path):
    story = tell("busy", storage=tmp_path / "disk")
    story.close("running")
    process = hold(story.folder, "polls")
    assert run_command("stop", "busy", "--storage", tmp_path / "disk", "--timeout", 20).code == 0
    assert process.wait(10) == 0


def test_a_sweep_that_does_not_end_in_time_is_told_and_stays_asked(run_command, tell, hold):
    story = tell("slow")
    story.trial(3, [0.5])
    story.close("running")
    process = hold(story.folder, "sits")
    answer = run_command("stop", "slow", "--timeout", "0.3", "--json")
    assert answer.code == 1
    error = answer.json["error"]
    assert "must end within 0.3 s, but" in error["what"]
    assert "003 (epoch 1)" in error["what"]
    assert (story.folder / STOP).exists()
    assert process.poll() is None


def test_what_is_waited_for_is_told_again_only_when_it_is_another(tell, hold, monkeypatch):
    monkeypatch.setattr(stopping, "TELL_S", 0.05)
    story = tell("busy")
    story.trial(0)
    story.keep_state("running")
    hold(story.folder, "sits")
    told: list[str] = []
    threading.Timer(0.5, story.report, (0, [0.5])).start()
    with pytest.raises(RunError):
        stop("busy", timeout_s=1.2, tell=told.append)
    story.journal.close()
    assert [line.rpartition("trials: ")[2] for line in told] == ["000 (epoch 0)", "000 (epoch 1)"]


@pytest.mark.parametrize(
    ("status", "told", "remedy"),
    [
        ("finished", "finished", "paceline show over"),
        ("killed", "killed", "paceline resume over"),
        ("running", "interrupted", "paceline resume over"),
        ("failed", "failed", "paceline show over"),
    ],
)
def test_what_does_not_run_cannot_be_stopped(run_command, tell, status, told, remedy):
    story = tell("over")
    story.close(status)
    answer = run_command("stop", "over", "--json")
    assert answer.code == 2
    assert f"but over is {told}" in answer.json["error"]["what"]
    assert answer.json["error"]["remedy"] == remedy
    assert not (story.folder / STOP).exists()


def test_a_single_run_gets_sigterm(run_command, write_run, hold):
    folder = write_run("one", "running")
    process = hold(folder, "sits")
    answer = run_command("stop", "one", "--timeout", 20, "--json")
    assert answer.code == 0, answer.err
    assert process.wait(10) == -signal.SIGTERM
    assert answer.json["name"] == "one"
    assert not (folder / STOP).exists()


def test_a_run_that_has_no_state_yet_gets_sigterm(paceline_home: Path, hold):
    folder = paceline_home / "runs" / "young"
    folder.mkdir(parents=True)
    process = hold(folder, "sits")
    stop("young", timeout_s=10)
    assert process.wait(10) == -signal.SIGTERM


def test_a_run_that_hears_no_signal_is_told(write_run, hold):
    folder = write_run("one", "running")
    process = hold(folder, "deaf")
    with pytest.raises(RunError, match=f"process {process.pid} still works on it"):
        stop("one", timeout_s=0.3)
    assert process.poll() is None


def test_a_process_that_only_has_the_number_is_never_signalled(write_run, hold, tmp_path: Path):
    """Numbers are used again: the lock may name one that is somebody else by now."""
    folder, other = write_run("one", "running"), tmp_path / "other"
    other.mkdir()
    bystander, holder = hold(other, "sits"), hold(folder, "deaf")
    (folder / "lock").write_text(str(bystander.pid))
    with pytest.raises(UserError, match="a process of this host and user") as error:
        stop("one", timeout_s=1)
    assert str(bystander.pid) in error.value.where
    time.sleep(0.2)
    assert bystander.poll() is None
    assert holder.poll() is None


@pytest.mark.parametrize("text", ["", "no number", "999999999", "9" * 30, "-1", "0"])
def test_a_lock_that_names_nobody_is_told(write_run, hold, text: str):
    folder = write_run("one", "running")
    holder = hold(folder, "deaf")
    (folder / "lock").write_text(text)
    with pytest.raises(UserError, match="a process of this host and user"):
        stop("one", timeout_s=1)
    assert holder.poll() is None


def test_a_lock_that_nobody_holds_is_no_reason_to_signal(write_run, hold, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    bystander = hold(other, "sits")
    folder = write_run("one", "running")
    (folder / "lock").write_text(str(bystander.pid))
    with pytest.raises(UserError, match="interrupted"):
        stop("one", timeout_s=1)
    time.sleep(0.1)
    assert bystander.poll() is None


def test_a_sweep_that_ends_by_itself_while_it_is_asked_is_over(tell, hold):
    story = tell("busy")
    story.close("running")
    process = hold(story.folder, "sits")
    threading.Timer(0.3, process.kill).start()
    began = time.monotonic()
    stop("busy", timeout_s=30)
    assert time.monotonic() - began < 10
    assert not (story.folder / STOP).exists()


def test_a_damaged_journal_does_not_keep_a_sweep_from_being_stopped(tell, hold):
    story = tell("busy")
    story.trial(0, [0.5])
    story.close("running")
    story.journal.path.write_text("{}\n" + story.journal.path.read_text())
    hold(story.folder, "polls")
    stop("busy", timeout_s=10)


def test_a_folder_that_cannot_be_written_is_named(tell, hold):
    story = tell("busy")
    story.close("running")
    hold(story.folder, "sits")
    (story.folder / STOP / "in the way").mkdir(parents=True)
    with pytest.raises(UserError, match="whose folder you can write"):
        stop("busy", timeout_s=1)


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "inf", "nan"])
def test_a_timeout_is_a_number_of_seconds(run_command, timeout: str):
    answer = run_command("stop", "x", "--timeout", timeout, "--json")
    assert answer.code == 2
    assert "--timeout" in answer.json["error"]["what"]


def test_a_wrong_name_gives_the_nearest(run_command, tell):
    tell("mlp-1").close("finished")
    answer = run_command("stop", "mlp-2", "--json")
    assert answer.code == 2
    assert "mlp-1" in answer.json["error"]["remedy"]

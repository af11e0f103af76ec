from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from paceline.platform.errors import UserError
from paceline.platform.home import (
    claim,
    free_name,
    home,
    is_held,
    names,
    read_state,
    run_folder,
    write_atomic,
    write_state,
)

HOLD = """
import sys
from paceline.platform.home import claim
with claim(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""
STATE = {"name": "x", "run_id": "1", "status": "finished", "tracking_uri": "sqlite:////x"}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "home"))


@contextmanager
def holder(name: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a name until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_name_that_a_living_process_holds_is_refused_with_its_pid():
    with holder("mine") as process:
        with pytest.raises(UserError, match="no living process uses") as error, claim("mine"):
            pass
        assert f"process {process.pid} " in error.value.where


def test_a_name_is_free_again_when_its_process_was_killed():
    with holder("mine") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with claim("mine") as folder:
            assert (folder / "lock").read_text() == str(os.getpid())


def test_a_claim_that_came_to_nothing_leaves_nothing():
    with pytest.raises(RuntimeError), claim("mine") as folder:
        raise RuntimeError
    assert not folder.exists()
    with claim("mine"):
        pass


def test_a_claim_that_left_a_state_takes_the_name():
    with claim("mine") as folder:
        write_state(folder, STATE)
    with pytest.raises(UserError, match="`--name` must be a new name") as error, claim("mine"):
        pass
    assert "paceline show mine" in error.value.remedy
    with claim("mine", again=True):
        pass
    assert folder.exists()


def test_what_a_crash_left_without_a_state_does_not_block_the_name():
    folder = run_folder("mine")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("half")
    with claim("mine") as again:
        assert again == folder


def test_a_free_name_counts_up():
    today = time.strftime("%Y%m%d")
    assert free_name("mlp") == f"mlp-{today}-1"
    run_folder(f"mlp-{today}-1").mkdir(parents=True)
    assert free_name("mlp") == f"mlp-{today}-2"


@pytest.mark.parametrize("recipe", ["their-zoo:mlp", "../../etc", "a b", ".hidden", "é", "x" * 300])
def test_a_free_name_is_a_name_whatever_the_recipe_is_called(recipe: str):
    assert run_folder(free_name(recipe)).parent == home() / "runs"


def test_processes_that_ask_at_once_get_names_of_their_own():
    taken: list[str] = []
    start = threading.Barrier(8, timeout=5)
    done = threading.Barrier(8, timeout=5)

    def work() -> None:
        start.wait()
        with claim(None, recipe="mlp") as folder:
            taken.append(folder.name)
            done.wait()  # nobody lets go before everybody has a name

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(set(taken)) == 8


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc/x", "-x", ".x", "a b", "a\nb", "a\0b", "x" * 101]
)
def test_a_name_cannot_walk_out_of_its_folder(name: str):
    with pytest.raises(UserError, match="must be letters, digits"):
        run_folder(name)


def test_names_lists_those_with_a_state_newest_first():
    for age, name in enumerate(["new", "old"]):
        folder = run_folder(name)
        folder.mkdir(parents=True)
        write_state(folder, STATE)
        os.utime(folder / "run.json", (1e9 - age, 1e9 - age))
    run_folder("empty").mkdir()
    assert names() == ["new", "old"]


def test_an_unknown_name_lists_the_nearest():
    with claim("mlp-1") as folder:
        write_state(folder, STATE)
    with pytest.raises(UserError) as error:
        read_state("mpl-1")
    assert "mlp-1" in error.value.remedy
    with pytest.raises(UserError, match="known name"):
        read_state("entirely-different")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"{}", b"\xff\xfe", b'{"name": "x"}'])
def test_a_damaged_state_is_one_message(content: bytes):
    folder = run_folder("mine")
    folder.mkdir(parents=True)
    (folder / "run.json").write_bytes(content)
    with pytest.raises(UserError, match="must be a run's state, but is damaged") as error:
        read_state("mine")
    assert error.value.where == str(folder / "run.json")


def test_a_state_comes_back_as_it_was_written():
    with claim("mine") as folder:
        write_state(folder, STATE | {"metrics": {"val/loss": 0.5}})
    assert read_state("mine")["metrics"] == {"val/loss": 0.5}
    assert json.loads((folder / "run.json").read_text())["name"] == "x"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    def crash(*_: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        write_atomic(path, "new")
    assert path.read_text() == "old"


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/x", "/proc/x"])
def test_a_home_that_cannot_be_written_says_so(place: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PACELINE_HOME", place)
    with pytest.raises(UserError, match=r"PACELINE_HOME. must be a folder that can be written"):
        home()


def test_home_is_made_and_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PACELINE_HOME", "~/deep/home")
    assert home() == tmp_path / "deep" / "home"
    monkeypatch.setenv("PACELINE_HOME", "")
    assert home() == tmp_path / ".paceline"
    assert home().is_dir()


def test_runs_may_live_in_a_storage_of_their_own(tmp_path: Path):
    with claim("mine", str(tmp_path / "far")) as folder:
        write_state(folder, STATE)
    assert names(str(tmp_path / "far")) == ["mine"]
    assert names() == []


def test_a_folder_is_held_while_its_process_lives(tmp_path: Path):
    folder = run_folder("mine")
    assert not is_held(folder)
    with holder("mine"):
        assert is_held(folder)
        assert is_held(folder)  # looking takes nothing away
    assert not is_held(folder)


def test_looking_at_a_lock_makes_none(tmp_path: Path):
    assert not is_held(tmp_path)
    assert [*tmp_path.iterdir()] == []

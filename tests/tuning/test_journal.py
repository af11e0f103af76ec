"""The journal on a real disk: whole after a crash, refused after an edit."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from paceline.platform.errors import UserError
from paceline.tuning.journal import JOURNAL, Journal, check_safe, read_events, read_rows
from paceline.tuning.rows import Rows


def journal_in(folder: Path) -> Journal:
    return Journal(folder, Rows("val/loss", "min"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep's folder with a journal of one trial."""
    journal = journal_in(tmp_path)
    journal.write("sweep", name="x", space={"lr": {"uniform": [0, 1]}})
    journal.write("begin", 0, values={"lr": 0.1, "size": [8, 4]}, seed=5, origin="random")
    journal.write("run", 0, run_id="abc")
    journal.write("start", 0)
    journal.write("report", 0, epoch=1, metrics={"val/loss": math.nan})
    journal.write("report", 0, epoch=2, metrics={"val/loss": 0.5})
    journal.write("end", 0, status="finished", stop_reason="completed")
    journal.close()
    return tmp_path


def test_the_journal_gives_back_the_rows(folder: Path):
    (row,) = read_rows(folder, "val/loss", "min")
    assert row.values == {"lr": 0.1, "size": [8, 4]}
    assert (row.run_id, row.seed, row.status, row.score) == ("abc", 5, "finished", 0.5)
    assert (row.origin, row.stop_reason, row.attempt) == ("random", "completed", 1)


def test_every_event_is_on_disk_before_write_returns(tmp_path: Path):
    journal = journal_in(tmp_path)
    journal.write("begin", 0, values={}, seed=1)
    assert json.loads((tmp_path / JOURNAL).read_text())["event"] == "begin"
    journal.close()


def test_a_torn_last_line_is_left_out_and_cut_off_before_the_next(folder: Path):
    whole = (folder / JOURNAL).read_bytes()
    for length in range(1, 40):
        (folder / JOURNAL).write_bytes(
            whole + b'{"event": "begin", "number": 1, "values": {}}'[:length]
        )
        assert len(read_events(folder)) == 7
    journal = journal_in(folder)
    journal.write("begin", 1, values={})
    journal.close()
    assert [e["event"] for e in read_events(folder)][-2:] == ["end", "begin"]


def test_a_journal_cut_anywhere_reads_up_to_its_last_whole_line(folder: Path):
    whole = (folder / JOURNAL).read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for length in range(len(whole)):
        (folder / JOURNAL).write_bytes(whole[:length])
        assert len(read_events(folder)) == sum(end <= length for end in ends)


@pytest.mark.parametrize("line", range(7))
def test_a_line_that_was_edited_is_refused_with_its_number(folder: Path, line: int):
    lines = (folder / JOURNAL).read_text().splitlines(keepends=True)
    event = json.loads(lines[line])
    lines[line] = json.dumps({**event, "time": 1.0}) + "\n"
    (folder / JOURNAL).write_text("".join(lines))
    with pytest.raises(UserError, match=f"line {line + 1} or the one before"):
        read_events(folder)


@pytest.mark.parametrize("line", range(6))
def test_a_line_that_was_left_out_or_moved_is_refused(folder: Path, line: int):
    lines = (folder / JOURNAL).read_text().splitlines(keepends=True)
    (folder / JOURNAL).write_text("".join(lines[:line] + lines[line + 1 :]))
    with pytest.raises(UserError, match="was changed"):
        journal_in(folder)
    lines[line], lines[line + 1] = lines[line + 1], lines[line]
    (folder / JOURNAL).write_text("".join(lines))
    with pytest.raises(UserError, match="was changed"):
        journal_in(folder)


@pytest.mark.parametrize("garbage", [b"\n", b"[1, 2]\n", b'{"note": 1}\n', b"\xff\xfe\n", b"\0\n"])
def test_a_line_that_nobody_wrote_is_refused(folder: Path, garbage: bytes):
    with (folder / JOURNAL).open("ab") as file:
        file.write(garbage)
    with pytest.raises(UserError, match="was changed"):
        read_events(folder)


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_folder_or_a_journal_that_others_can_write_is_refused(folder: Path, mode: int):
    check_safe(folder)
    for path in (folder, folder / JOURNAL):
        before = path.stat().st_mode
        path.chmod(mode)
        with pytest.raises(UserError, match="nobody else can write") as caught:
            journal_in(folder)
        assert "chmod go-w" in caught.value.remedy
        path.chmod(before)


def test_a_folder_that_others_can_exchange_is_refused(folder: Path):
    parent = folder.parent
    before = parent.stat().st_mode
    parent.chmod(0o777)
    try:
        with pytest.raises(UserError, match="nobody else can write"):
            check_safe(folder)
        parent.chmod(0o1777)  # as /tmp: only the owner renames
        check_safe(folder)
    finally:
        parent.chmod(before)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_a_journal_of_another_user_is_refused(folder: Path):
    os.chown(folder / JOURNAL, 12345, 12345)
    with pytest.raises(UserError, match="user 12345"):
        journal_in(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_events_waiting_and_loses_none(small_disk: Path):
    journal = journal_in(small_disk)
    journal.write("begin", 0, values={}, seed=1)
    (small_disk / "checkpoint").write_bytes(b"x" * 56_000)
    for epoch in range(1, 101):
        journal.write("report", 0, epoch=epoch, metrics={"val/loss": 1.0, "note": 10**200})
    assert journal.rows.by_number[0].epoch == 100
    assert len(read_events(small_disk)) < 101  # what is there is whole
    (small_disk / "checkpoint").unlink()
    journal.write("end", 0, status="failed", error="OSError")
    journal.close()
    rows = read_rows(small_disk, "val/loss", "min")
    assert (rows.by_number[0].epoch, rows.by_number[0].status) == (100, "failed")


def test_a_folder_without_a_journal_has_no_trials(tmp_path: Path):
    assert len(read_rows(tmp_path, "val/loss", "min")) == 0

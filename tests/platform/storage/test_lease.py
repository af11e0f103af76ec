"""Who may work on a run in an object store: one process at a time, of whichever machine."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from paceline.platform.errors import UserError
from paceline.platform.home import claim, write_atomic
from paceline.platform.storage import lease as leasing
from paceline.platform.storage import state_mirror
from paceline.platform.storage.checkpoint_objects import CheckpointObjects
from paceline.platform.storage.lease import LEASE, Lease
from paceline.platform.storage.state_mirror import STATE, StateMirror
from paceline.tests.platform.storage.s3_double import S3Double

Folders = tuple[Path, Path]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """The run's folder on two machines."""
    folders = tmp_path / "first" / "run", tmp_path / "second" / "run"
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything a tenth as long."""
    monkeypatch.setattr(leasing, "WATCH_S", 1.2)
    monkeypatch.setattr(leasing, "LOOK_S", 0.05)
    monkeypatch.setattr(state_mirror, "EVERY_S", 0.3)


def test_one_that_is_renewed_is_refused_and_one_that_stands_still_is_taken_over(
    objects: CheckpointObjects, folders: Folders, quick: None
):
    first, second = (Lease(objects.store, folder) for folder in folders)
    first.take()
    is_over = threading.Event()

    def live() -> None:
        while not is_over.wait(0.3):
            first.renew()

    thread = threading.Thread(target=live)
    thread.start()
    with pytest.raises(UserError, match="no living process uses") as caught:
        second.take()
    assert f"process {os.getpid()} of " in caught.value.where
    is_over.set()
    thread.join()
    second.take()
    assert (first.renew(), second.renew()) == (False, True)
    first.release()
    assert second.renew()
    second.release()
    assert objects.store.get(LEASE) is None


def test_its_own_machine_knows_that_its_driver_is_dead_and_waits_for_nothing(
    objects: CheckpointObjects, folders: Folders
):
    dead, again = (Lease(objects.store, folders[0]) for _ in range(2))
    dead.take()
    begin = time.monotonic()
    again.take()
    assert time.monotonic() - begin < leasing.WATCH_S / 2
    assert (dead.renew(), again.renew()) == (False, True)


def test_of_two_that_come_at_once_one_has_it(
    objects: CheckpointObjects, folders: Folders, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(leasing, "LOOK_S", 0.5)
    refused: list[UserError] = []

    def take(folder: Path) -> None:
        try:
            Lease(objects.store, folder).take()
        except UserError as error:
            refused.append(error)

    threads = [threading.Thread(target=take, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b'{"token": 1}'])
def test_what_is_no_such_object_holds_nobody_up(
    objects: CheckpointObjects, folders: Folders, content: bytes, quick: None
):
    objects.store.put(LEASE, content)
    lease = Lease(objects.store, folders[0])
    lease.take()
    assert lease.renew()


def test_a_name_is_held_on_every_machine_until_its_driver_has_ended(
    s3: S3Double, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
):
    storage = s3.storage(prefix)
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "one"))
    with claim("shared", storage) as folder:
        (folder / "run.json").write_text("{}")
        monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "other"))
        with (
            pytest.raises(UserError, match="no living process uses"),
            claim("shared", storage, again=True),
        ):
            pass
    assert s3.keys(f"{prefix}/shared") == [STATE]
    with claim("shared", storage, again=True) as folder:
        assert (folder / "run.json").read_text() == "{}"


def test_whoever_has_lost_it_leaves_and_overwrites_nothing(
    objects: CheckpointObjects, folders: Folders, quick: None, caplog: pytest.LogCaptureFixture
):
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        lease = Lease(objects.store, folders[0])
        lease.take()
        mirror = StateMirror(objects.store, folders[0], write_atomic, lease)
        mirror.start()
        Lease(objects.store, folders[0]).take()
        (folders[0] / "run.json").write_text(json.dumps({"status": "of the one who lost it"}))
        assert told.wait(10)
        mirror.close()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "taken" in caplog.text
    assert objects.store.get(STATE) is None

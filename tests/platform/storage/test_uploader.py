"""The uploader against an S3 that fails, is away, and is slow; nobody who trains waits for it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from paceline.platform.storage import uploader as uploading
from paceline.platform.storage.checkpoint_objects import CheckpointObjects
from paceline.platform.storage.going_on import newest
from paceline.platform.storage.location import parse
from paceline.platform.storage.object_store import ObjectStore
from paceline.platform.storage.uploader import Uploader
from paceline.platform.training.checkpoint_file import digest, read
from paceline.tests.platform.storage.conftest import Save
from paceline.tests.platform.storage.s3_double import Line, S3Double


def through(line: Line, s3: S3Double, prefix: str) -> CheckpointObjects:
    return CheckpointObjects(ObjectStore(parse(s3.storage(prefix, line.port))).under("run"))


def test_a_store_that_fails_every_third_put_loses_nothing(
    objects, save: Save, s3: S3Double, prefix: str, tmp_path: Path
):
    for status in (500, 403):  # what the client tries again by itself, and what it does not
        s3.fail(3, status)
        uploader = Uploader(objects, tmp_path / "run")
        for step in range(status, status + 4):
            size = 3_000_000 if step == 501 else 10  # 12 MB go in two parts
            save(step, "latest.ckpt", *(["best.ckpt"] if step % 2 else []), size=size)
            uploader.offer(step)
            assert uploader.wait()
            assert read(newest(tmp_path / f"at-{step}", objects))["global_step"] == step
        uploader.close()
        assert sum(line.endswith("failed") for line in s3.asked()) >= 3
        s3.fail(0)
    latest, best = objects.pointer("latest.ckpt"), objects.pointer("best.ckpt")
    assert (latest.step, best.step) == (406, 405)
    # What nobody points at is gone.
    assert s3.keys(f"{prefix}/run") == sorted([latest.name, best.name, "best.json", "latest.json"])


def test_a_deletion_that_fails_does_not_spare_the_others(
    objects, save: Save, s3: S3Double, prefix: str, tmp_path: Path
):
    uploader = Uploader(objects, tmp_path / "run")
    save(1)
    uploader.offer(1)
    assert uploader.close()
    strays = [f"{prefix}/run/checkpoints/{str(n) * 64}.ckpt" for n in range(4)]
    for name in strays:
        s3.write(name, b"cut off")
    s3.fail(2, 403)  # after a deletion its folder is put, lest it vanish
    uploader.tidy()
    assert any(line.endswith("failed") for line in s3.asked())
    assert s3.keys(f"{prefix}/run") == [objects.pointer("latest.ckpt").name, "latest.json"]


def test_a_pointer_never_stands_before_its_checkpoint(
    objects, save: Save, s3: S3Double, tmp_path: Path
):
    uploader = Uploader(objects, tmp_path / "run")
    s3.fail(0)
    for step in (1, 2):
        save(step)
        uploader.offer(step)
        uploader.wait()
    uploader.close()
    asked = [line for line in s3.asked() if line.startswith(("PUT", "DELETE"))]
    kinds = [
        f"{line.split()[0]} {'pointer' if line.endswith('.json') else 'checkpoint'}"
        for line in asked
        if not line.endswith("/")
    ]
    assert kinds[:4] == ["PUT checkpoint", "PUT pointer"] * 2
    assert kinds[4:] == ["DELETE checkpoint"]


def test_a_newer_checkpoint_takes_the_place_of_one_that_waits_and_nobody_waits_for_it(
    save: Save, s3: S3Double, prefix: str, tmp_path: Path
):
    line = Line(s3.port)
    objects = through(line, s3, prefix)
    line.is_silent = True
    uploader = Uploader(objects, tmp_path / "run")
    longest = 0.0
    for step in range(1, 30):
        save(step, size=100_000)
        begin = time.monotonic()
        uploader.offer(step)
        longest = max(longest, time.monotonic() - begin)
    assert longest < 0.5  # a request takes ten seconds to fail
    line.cut()
    line.is_silent = False
    line.mend()
    uploader.close()
    assert objects.pointer("latest.ckpt").step == 29
    puts = {found for found in s3.asked() if found.startswith("PUT") and "/checkpoints/" in found}
    assert len([p for p in puts if prefix in p and not p.endswith("/")]) <= 2
    line.cut()


def test_a_store_that_is_away_for_long_is_told_once_and_gets_the_latest_when_it_is_back(
    save: Save, s3: S3Double, prefix: str, tmp_path: Path, caplog, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(uploading, "TELL_AFTER_S", 0.5)
    line = Line(s3.port)
    objects = through(line, s3, prefix)
    line.cut()
    uploader = Uploader(objects, tmp_path / "run")
    for step in range(1, 9):
        save(step)
        uploader.offer(step)
        time.sleep(0.8)
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 1, told
    assert "does not take checkpoints; trying on" in told[0]
    line.mend()
    uploader.close()
    assert objects.pointer("latest.ckpt").step == 8
    assert [r.getMessage() for r in caplog.records][1:] == [
        f"{objects.store.location.plain_uri} answers again."
    ]
    line.cut()


def test_at_the_end_one_message_says_what_is_not_uploaded_and_where_it_is(
    save: Save, s3: S3Double, objects, tmp_path: Path, caplog
):
    s3.fail(1, 403)
    folder = save(5, "latest.ckpt", "best.ckpt")
    uploader = Uploader(objects, folder)
    uploader.offer(5)
    begin = time.monotonic()
    uploader.close(patience_s=1)
    assert time.monotonic() - begin < 10
    (record,) = caplog.records
    text = record.getMessage()
    assert "Not uploaded" in text
    assert "best.ckpt (step 5" in text
    assert "latest.ckpt (step 5" in text
    assert str(folder) in text
    assert "no-secret-of-anybody" not in text
    assert uploader.uploaded("best.ckpt") is None
    s3.fail(0)


def test_a_file_that_changed_on_this_disk_is_never_pointed_at(
    objects, save: Save, tmp_path: Path, caplog
):
    folder = save(5)
    with (folder / "latest.ckpt").open("r+b") as file:
        file.seek(40)
        file.write(b"????")
    uploader = Uploader(objects, folder)
    uploader.offer(5)
    uploader.close(patience_s=0.5)
    time.sleep(0.1)
    assert objects.pointer("latest.ckpt") is None
    assert "no longer the one that was saved" in caplog.text


def test_what_uploads_that_were_cut_off_have_left_is_deleted_once_none_can_be_under_way(
    objects, save: Save, s3: S3Double, prefix: str, tmp_path: Path, monkeypatch
):
    from datetime import timedelta

    from paceline.platform.storage import checkpoint_objects

    stray = f"{prefix}/run/checkpoints/{'0' * 64}.ckpt"
    s3.write(stray, b"half of a checkpoint")
    for age, is_left in ((timedelta(minutes=15), True), (timedelta(0), False)):
        monkeypatch.setattr(checkpoint_objects, "STRAY_AFTER", age)
        time.sleep(1.1 if not is_left else 0)  # the store counts whole seconds
        uploader = Uploader(objects, save(1 + is_left))
        uploader.offer(1)
        uploader.close()
        assert (f"checkpoints/{'0' * 64}.ckpt" in s3.keys(f"{prefix}/run")) == is_left


def test_readers_beside_an_uploader_always_find_a_whole_checkpoint(
    objects, save: Save, tmp_path: Path
):
    uploader = Uploader(objects, tmp_path / "run")
    save(1)
    uploader.offer(1)
    uploader.wait()
    is_over, failures, seen = threading.Event(), [], []

    def follow() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            try:
                found = newest(tmp_path / f"reader-{number}", objects, 0)
                # The double replaces an object in two steps, where a store does it in one.
                if found is not None:
                    seen.append(read(found)["global_step"])
            except Exception as error:
                failures.append(error)

    reader = threading.Thread(target=follow)
    reader.start()
    for step in range(2, 40):
        save(step)
        uploader.offer(step)
        uploader.wait()
    is_over.set()
    reader.join()
    uploader.close()
    assert failures == []
    assert seen == sorted(seen)
    assert len(set(seen)) > 3


def test_a_pointer_says_what_the_checkpoint_is(objects, save: Save, tmp_path: Path, s3, prefix):
    folder = save(12, "latest.ckpt", "best.ckpt")
    uploader = Uploader(objects, folder)
    uploader.offer(12)
    uploader.close()
    path = folder / "best.ckpt"
    assert json.loads(s3.read(f"{prefix}/run/best.json")) == {
        "digest": digest(path),
        "size": path.stat().st_size,
        "step": 12,
    }

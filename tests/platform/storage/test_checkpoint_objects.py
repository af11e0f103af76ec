"""Checkpoints in an object store: whole or not there, and never more than plain values."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch
from paceline.platform.errors import UserError
from paceline.platform.storage.checkpoint_objects import CheckpointObjects, Pointer, read_pointer
from paceline.platform.storage.going_on import newest
from paceline.platform.training.checkpoint_file import digest, read
from paceline.tests.platform.storage.conftest import Save
from paceline.tests.platform.storage.s3_double import S3Double

DIGEST = hashlib.sha256(b"").hexdigest()


def put(
    objects: CheckpointObjects, path: Path, kind: str = "latest.ckpt", step: int = 1
) -> Pointer:
    pointer = Pointer(digest(path), path.stat().st_size, step)
    with path.open("rb") as file:
        objects.put(pointer, file)
    objects.point(kind, pointer)
    return pointer


def step_of(path: str | Path | None) -> int:
    assert path is not None
    return read(path)["global_step"]


def test_a_checkpoint_is_brought_as_it_was_put(objects, save: Save, tmp_path: Path):
    path = save(7, size=4_000_000) / "latest.ckpt"  # 16 MB: sent in several parts
    pointer = put(objects, path, step=7)
    assert objects.pointer("latest.ckpt") == pointer
    assert objects.uri(pointer).endswith(f"/run/checkpoints/{pointer.digest}.ckpt")
    brought = objects.bring("latest.ckpt", pointer, tmp_path / "there")
    assert brought.read_bytes() == path.read_bytes()
    assert brought.with_name("latest.ckpt.sha256").read_text().strip() == pointer.digest
    assert sorted(p.name for p in brought.parent.iterdir()) == ["latest.ckpt", "latest.ckpt.sha256"]


@pytest.mark.parametrize("change", ["flipped", "cut", "longer"])
def test_an_object_that_was_changed_is_refused(
    objects, save: Save, tmp_path: Path, s3: S3Double, prefix: str, change: str
):
    path = save(7) / "latest.ckpt"
    pointer = put(objects, path)
    content = path.read_bytes()
    changed = {
        "flipped": content[:50] + bytes([content[50] ^ 1]) + content[51:],
        "cut": content[:-10],
        "longer": content + b"x" * 10_000_000,
    }[change]
    s3.write(f"{prefix}/run/{pointer.name}", changed)
    with pytest.raises(UserError, match="whose SHA-256 is") as caught:
        objects.bring("latest.ckpt", pointer, tmp_path / "there")
    assert ("more than" in caught.value.what) == (change == "longer")  # a disk is not filled
    assert list((tmp_path / "there").iterdir()) == []


class Hostile:
    def __reduce__(self):
        return Path.touch, (Path("/tmp/the-checkpoint-has-run"),)


@pytest.mark.parametrize("content", ["pickle", "objects", "rubbish"])
def test_a_hostile_checkpoint_is_refused_though_its_digest_is_right(
    objects, tmp_path: Path, content: str
):
    path = tmp_path / "hostile"
    if content == "objects":
        torch.save({"state_dict": {}, "trap": Hostile()}, path)
    else:
        path.write_bytes(pickle.dumps(Hostile()) if content == "pickle" else b"rubbish")
    pointer = put(objects, path)
    with pytest.raises(UserError, match="checkpoint"):
        objects.bring("latest.ckpt", pointer, tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []
    assert not Path("/tmp/the-checkpoint-has-run").exists()
    with pytest.raises(UserError, match="checkpoint"):  # it is not passed over in silence
        newest(tmp_path / "there", objects)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "rubbish",
        json.dumps({"digest": "../../../etc/passwd", "size": 1, "step": 1}),
        json.dumps({"digest": DIGEST, "size": -1, "step": 1}),
        json.dumps({"digest": DIGEST, "size": 1}),
        json.dumps({"digest": DIGEST, "size": "1", "step": 1}),
        json.dumps({"digest": DIGEST, "size": True, "step": 1}),
        json.dumps({"digest": DIGEST, "size": 1, "step": 1, "more": 1}),
        json.dumps({"digest": [DIGEST], "size": 1, "step": 1}),
    ],
)
def test_a_pointer_that_is_none_points_nowhere(text: str):
    assert read_pointer(text.encode()) is None


def test_a_run_goes_on_at_the_newer_of_both_places(objects, save: Save, tmp_path: Path):
    assert newest(tmp_path / "run", objects) is None
    put(objects, save(5, folder=tmp_path / "other") / "latest.ckpt", step=5)
    here = tmp_path / "run"
    assert step_of(newest(here, objects)) == 5
    save(9, folder=here)
    assert step_of(newest(here, objects)) == 9
    assert step_of(here / "latest.ckpt") == 9
    put(objects, save(11, folder=tmp_path / "other") / "latest.ckpt", step=11)
    assert newest(here, objects) == str(here / "latest.ckpt")
    assert step_of(here / "latest.ckpt") == 11


def test_the_best_comes_along_since_later_ones_are_measured_against_it(
    objects, save: Save, tmp_path: Path
):
    other, here = tmp_path / "other", save(2, "best.ckpt", folder=tmp_path / "run")
    put(objects, save(5, folder=other) / "latest.ckpt", step=5)
    put(objects, save(3, "best.ckpt", folder=other) / "best.ckpt", "best.ckpt", step=3)
    assert newest(here, objects) == str(here / "latest.ckpt")
    assert step_of(here / "best.ckpt") == 3


def test_a_latest_that_is_damaged_is_passed_over_aloud_for_the_best(
    objects, save: Save, tmp_path: Path, s3: S3Double, prefix: str, caplog
):
    other = save(5, folder=tmp_path / "other")
    latest = put(objects, other / "latest.ckpt", step=5)
    put(objects, save(3, "best.ckpt", folder=other) / "best.ckpt", "best.ckpt", step=3)
    s3.write(f"{prefix}/run/{latest.name}", b"rubbish")
    assert step_of(newest(tmp_path / "run", objects)) == 3
    assert "latest.ckpt in the object store is passed over" in caplog.text


def test_a_latest_that_is_gone_is_passed_over_aloud_for_the_best(
    objects, save: Save, tmp_path: Path, s3: S3Double, prefix: str, caplog
):
    other = save(5, folder=tmp_path / "other")
    latest = put(objects, other / "latest.ckpt", step=5)
    put(objects, save(3, "best.ckpt", folder=other) / "best.ckpt", "best.ckpt", step=3)
    s3.delete(f"{prefix}/run/{latest.name}")
    assert step_of(newest(tmp_path / "run", objects)) == 3
    assert "an object that exists" in caplog.text


def test_a_run_on_a_disk_that_has_its_checkpoint_goes_on_without_the_store(
    objects, save: Save, tmp_path: Path, s3: S3Double, caplog
):
    here = save(4)
    s3.fail(1, status=403)
    assert step_of(newest(here, objects)) == 4
    assert "does not answer; going on from" in caplog.text
    with pytest.raises(UserError, match="can be written and read"):
        newest(tmp_path / "elsewhere", objects, patience_s=0)


def test_removal_spares_what_the_other_pointer_needs_and_leads_nobody_astray(
    objects: CheckpointObjects, save: Save, s3: S3Double, prefix: str
):
    folder = save(1)
    name = put(objects, folder / "latest.ckpt").name
    put(objects, folder / "latest.ckpt", "best.ckpt")
    stray = f"checkpoints/{'a' * 64}.ckpt"
    s3.write(f"{prefix}/run/{stray}", b"cut off")
    before = s3.keys(f"{prefix}/run")
    told = objects.remove(["latest.ckpt"], dry_run=True)
    assert set(told) == {"latest.json", stray}
    assert told[stray] == len(b"cut off")
    assert s3.keys(f"{prefix}/run") == before
    assert objects.remove(["latest.ckpt"]) == told
    assert s3.keys(f"{prefix}/run") == ["best.json", name]
    s3.fail(0)
    assert set(objects.remove(["latest.ckpt", "best.ckpt"])) == {"best.json", name}
    gone = [line for line in s3.asked() if line.startswith("DELETE")]
    assert [line.rpartition("/")[2] for line in gone] == ["best.json", name.rpartition("/")[2]]

"""Checkpoints to upload: real files of Lightning's form, small and quick to make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from paceline.platform.storage.checkpoint_objects import CheckpointObjects
from paceline.platform.storage.location import parse
from paceline.platform.storage.object_store import ObjectStore
from paceline.platform.training.checkpoint_file import publish
from paceline.tests.platform.storage.s3_double import S3Double

Save = Callable[..., Path]


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """A place in the bucket that no other test has."""
    return f"{tmp_path.parent.name}/{tmp_path.name}"


@pytest.fixture
def objects(s3: S3Double, prefix: str) -> CheckpointObjects:
    """The checkpoints of a run named `run`."""
    return CheckpointObjects(ObjectStore(parse(s3.storage(prefix))).under("run"))


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save a checkpoint of a step: its weights are all that number."""

    def save(step: int, *kinds: str, folder: Path | None = None, size: int = 10) -> Path:
        folder = folder or tmp_path / "run"
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds or ("latest.ckpt",):
            content = {"state_dict": {"w": torch.full((size,), float(step))}, "global_step": step}
            torch.save(content, folder / "saved.new")
            publish(folder / "saved.new", folder / kind)
        return folder

    return save

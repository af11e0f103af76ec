"""A model that can be disturbed: workers take over the path of the driver, and so find it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paceline.tests.platform.launch.work import Work

sys.path.append(str(Path(__file__).parent / "models"))


@pytest.fixture
def work(paceline_home: Path, tmp_path: Path) -> Iterator[Work]:
    """The command in a folder of its own; what it started is ended with the test."""
    made = Work(paceline_home, tmp_path / "work")
    yield made
    made.end()

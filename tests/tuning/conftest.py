"""A home for each module, and a model that fails on demand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# A trial takes over the path of the driver, and so finds `fragile`.
sys.path.append(str(Path(__file__).parent / "models"))


@pytest.fixture(scope="module")
def module_home(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A `$PACELINE_HOME` that the tests of one module share."""
    import shutil

    home = tmp_path_factory.mktemp("paceline-home")
    shutil.copy(empty_store, home / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACELINE_HOME", str(home))
        yield home

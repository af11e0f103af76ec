"""The wheel holds the code and the recipes, all of them and nothing else.

Clusters get the wheel, so a file that is missing from it is missing on every worker.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WINGS = ("lightning_modules", "rl", "platform", "tuning", "deploy")


def is_packaged(path: str) -> bool:
    """Whether a tracked file belongs into the wheel: code, the recipes, the report's page,
    and the versions that an image is built of."""
    wing, slash, rest = path.partition("/")
    if not slash:
        return path.endswith(".py") or path == "constraints.txt"
    return wing in WINGS and (
        path.endswith(".py")
        or ("recipes/" in rest and path.endswith("yaml"))
        or ("report/" in rest and path.endswith((".html", ".css", ".js")))
    )


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    try:
        done = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("which files belong to the project is known only in a git checkout")
    return [path for path in done.stdout.splitlines() if (ROOT / path).is_file()]


@pytest.fixture(scope="module")
def wheel(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the tracked files, built in a copy: setuptools leaves a `build` folder behind,
    and would take whatever an earlier build left in it into the next wheel."""
    folder = tmp_path_factory.mktemp("source")
    for path in tracked:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return next((folder / "dist").glob("*.whl"))


def test_wheel_holds_every_module_and_recipe_and_nothing_else(tracked: list[str], wheel: Path):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    held = {n for n in names if not n.partition("/")[0].endswith(".dist-info")}
    assert held == {f"paceline/{path}" for path in tracked if is_packaged(path)}


def test_wheel_has_no_platform_init_and_nothing_beside_the_package(wheel: Path):
    with zipfile.ZipFile(wheel) as file:
        tops = {name.partition("/")[0] for name in file.namelist()}
        assert "paceline/platform/__init__.py" not in file.namelist()
    assert {top.partition("-")[0] for top in tops} == {"paceline"}


def test_wheel_names_the_command_and_every_group_of_the_catalog(wheel: Path):
    with zipfile.ZipFile(wheel) as file:
        name = next(n for n in file.namelist() if n.endswith("entry_points.txt"))
        text = file.read(name).decode()
    assert "paceline = paceline.__main__:command" in text
    for group in ("recipes", "models", "data", "optimizers", "schedules"):
        assert f"[paceline.{group}]" in text

"""Paceline itself, as a job brings it along: what the wheel holds, and its entry points beside it.

The cluster may have another Paceline, or none; the job runs the one that it was submitted with. The
files are those of the wheel, unpacked: Ray would install a wheel by pip with all it depends on.
Beside the package lies its metadata, because the catalog is found by entry points.
"""

from __future__ import annotations

import importlib.metadata
import tomllib
import zipfile
from pathlib import Path

from .cargo import pack

NAME = "paceline"
ROOT = Path(__file__).parents[2]
METADATA = ("METADATA", "entry_points.txt")


def write_package(path: Path) -> None:
    """Pack the package that this process runs into an archive, the same one each time."""
    found = importlib.metadata.distribution(NAME)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for name in package_files():
            pack(archive, f"{NAME}/{name}", (ROOT / name).read_bytes())
        for name in METADATA:
            text = found.read_text(name) or ""
            pack(archive, f"{NAME}-{found.version}.dist-info/{name}", text.encode())


def package_files() -> list[str]:
    """Paths of the package's files below its folder, sorted."""
    if (ROOT / "pyproject.toml").exists():  # a checkout, whose folder holds more than the package
        return sorted(_of_checkout())
    found = importlib.metadata.files(NAME) or []
    prefix = f"{NAME}/"
    names = (path.as_posix() for path in found)
    return sorted(
        name.removeprefix(prefix)
        for name in names
        if name.startswith(prefix) and "__pycache__" not in name
    )


def _of_checkout() -> set[str]:
    """What the build would take, by the lists that it is given."""
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns: dict[str, list[str]] = setup.get("package-data", {})
    names: set[str] = set()
    for package in setup["packages"]:
        folder = ROOT.joinpath(*package.split(".")[1:])
        for pattern in ("*.py", *patterns.get(package, ())):
            names |= {path.relative_to(ROOT).as_posix() for path in folder.glob(pattern)}
    return names

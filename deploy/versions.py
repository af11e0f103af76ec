"""Which versions a manifest names: those of the constraints file, else those installed here.

The constraints file lies beside the package, in the checkout as in the wheel, so an image is built
of the versions that the tests passed with. Nothing is imported to know a version.
"""

from __future__ import annotations

import functools
import sys
from importlib import metadata
from pathlib import Path

from ..platform.errors import UserError, must

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"  # Ray wants one on all nodes


def paceline() -> str:
    """The version of this package, as installed."""
    return metadata.version("paceline")


def wheel() -> str:
    """The file name of this package's wheel."""
    return f"paceline-{paceline()}-py3-none-any.whl"


def constraints() -> str:
    """The text of the constraints file.

    Raises:
        UserError: It is missing, as the package was not installed whole.
    """
    try:
        return CONSTRAINTS.read_text()
    except OSError:
        rule = "a file that is installed beside the package"
        raise UserError(
            must("constraints.txt", rule, str(CONSTRAINTS)), "", "install paceline again"
        ) from None


@functools.cache
def pinned(package: str) -> str:
    """The version of a package: `2.60.0` for `ray`.

    Raises:
        UserError: Neither the constraints nor the environment have it.
    """
    for line in constraints().splitlines():
        name, _, version = line.partition("==")
        if name.strip().lower() == package:
            return version.strip()
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        rule = "installed or in the constraints file"
        raise UserError(must(package, rule, "neither"), "", f"pip install {package}") from None

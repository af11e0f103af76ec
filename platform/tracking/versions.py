"""The versions that can change a result."""

from __future__ import annotations

import functools
import importlib.metadata
import platform

PACKAGES = ("paceline", "torch", "pytorch-lightning", "ray", "mlflow", "numpy")


@functools.cache
def versions() -> dict[str, str]:
    """Package -> installed version, and Python's; a package that is absent is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found

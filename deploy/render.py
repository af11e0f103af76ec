"""The targets by name, and their files written to a folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..platform.errors import UserError, must, unknown
from .manifests import compose, image, kuberay, launcher, slurm
from .values import ClusterValues, read_values


@dataclass(frozen=True)
class Target:
    """What can be rendered.

    Args:
        summary: One line.
        files: From values to file name -> text.
        defaults: Values that it has where none are given, of the values as given.
    """

    summary: str
    files: Callable[[ClusterValues], dict[str, str]]
    defaults: Callable[[ClusterValues], dict[str, str]] = lambda values: {}


_STORE = {"storage": "s3://paceline/runs"}
TARGETS = {
    "compose": Target(
        "MLflow, PostgreSQL, an S3 store and Ray on one machine",
        compose.compose_files,
        lambda values: {**_STORE, **compose.DEFAULTS},
    ),
    "kuberay": Target(
        "RayCluster, RayJob and MLflow on Kubernetes",
        kuberay.kuberay_files,
        lambda values: kuberay.defaults(values.namespace),
    ),
    "slurm": Target("one Slurm job", slurm.slurm_files, lambda values: slurm.DEFAULTS),
    "on-premise": Target(
        "Ray's launcher on machines that are there",
        launcher.on_premise_files,
        lambda values: slurm.DEFAULTS,
    ),
    "aws": Target(
        "Ray's launcher on Amazon's cloud", launcher.aws_files, lambda values: dict(_STORE)
    ),
    "image": Target("the image alone", image.image_files),
}


def render(
    target: str, file: str | None = None, settings: list[str] | None = None
) -> dict[str, str]:
    """The files of a target as texts; nothing is written.

    Args:
        target: One of `TARGETS`.
        file: YAML file of values.
        settings: `KEY=VALUE`, which win over the file.

    Raises:
        UserError: Unknown target, or values that break their rules.
    """
    if target not in TARGETS:
        raise unknown("TARGET", target, TARGETS, "paceline cluster render")
    chosen = TARGETS[target]
    given = read_values(file, settings or [])
    values = read_values(file, settings or [], chosen.defaults(given))
    return chosen.files(values)


def write(files: dict[str, str], folder: Path, *, force: bool = False) -> list[Path]:
    """Write rendered files, all or none of them.

    Args:
        files: File name -> text.
        folder: Where to; made when missing.
        force: Whether files that are there may be overwritten.

    Raises:
        UserError: The folder cannot be written, or files are there that differ and `force` is not
            given.
    """
    paths = {folder / name: text for name, text in files.items()}
    try:
        there = [p for p, text in paths.items() if p.exists() and p.read_text() != text]
        if there and not force:
            names = ", ".join(path.name for path in there)
            remedy = "--force overwrites them, --out takes another folder"
            raise UserError(
                must("--out", "a folder without other versions of the files", names),
                str(folder),
                remedy,
            )
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in paths.items():
            _write_whole(path, text)
    except (OSError, UnicodeDecodeError) as error:
        rule = "a folder that can be written"
        raise UserError(must("--out", rule, str(folder)), str(error)) from None
    return list(paths)


def _write_whole(path: Path, text: str) -> None:
    """Scripts may be run by their owner."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.chmod(0o755 if text.startswith("#!") else 0o644)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()

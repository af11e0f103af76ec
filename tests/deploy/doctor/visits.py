"""What the doctor's tests look at: its answers, and the faults that can be arranged for a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Rows = dict[str, dict[str, str]]
Doctor = Callable[..., "Visit"]


@dataclass
class Visit:
    """What the doctor answered."""

    code: int
    answer: dict[str, Any]
    err: str

    @property
    def rows(self) -> Rows:
        """Row by name."""
        return {row["name"]: row for row in self.answer["rows"]}


@dataclass
class Sick:
    """A cluster whose second node is ill.

    Args:
        address: Of the cluster.
        cluster: Ray's own handle.
    """

    address: str
    cluster: Any

    @property
    def node(self) -> Any:
        """The node that is ill."""
        return next(iter(self.cluster.worker_nodes))


NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}


def packages_of_others(folder: Path) -> Path:
    """A folder for `sys.path` with an MLflow of long ago and a package `lightning`."""
    info = folder / "mlflow-2.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlflow\nVersion: 2.0.0\n")
    (folder / "lightning").mkdir()
    (folder / "lightning" / "__init__.py").write_text("")
    return folder


def damaged_data(folder: Path) -> Path:
    """A folder of data sets whose one set has the right files with the wrong content."""
    place = folder / "fashion-mnist"
    place.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (place / f"{name}-ubyte").write_bytes(b"not a picture")
    return folder


def open_token(path: Path) -> Path:
    """A token file that everybody can read."""
    path.write_text("0" * 64)
    path.chmod(0o644)
    return path

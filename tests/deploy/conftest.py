"""What the tests of manifests share: each target rendered once, at its defaults and with GPUs."""

from __future__ import annotations

import pytest
from paceline.deploy.render import TARGETS, render

NEEDED = [
    "tracking_uri=http://mlflow.example.org:5000",
    "head_ip=10.0.0.1",
    "worker_ips=10.0.0.2,10.0.0.3,node-4.example.org",
]
GPUS = [*NEEDED, "workers=3", "gpus=2", "cpus=16", "memory_gib=64", "name=team-a"]
GPUS += ["partition=gpu", "account=lab", "s3_endpoint=http://store.example.org:9000"]
GPUS += ["image=registry.example.org/team/paceline:1.2", "command=fit resnet20-cifar10"]


@pytest.fixture(scope="session")
def rendered() -> dict[tuple[str, str], str]:
    """(target, file) -> text, of all targets at their defaults."""
    return {(t, name): text for t in TARGETS for name, text in render(t, None, NEEDED).items()}


@pytest.fixture(scope="session")
def rendered_with_gpus() -> dict[tuple[str, str], str]:
    """The same of another set of values."""
    return {(t, name): text for t in TARGETS for name, text in render(t, None, GPUS).items()}

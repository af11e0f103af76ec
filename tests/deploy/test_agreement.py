"""Edits of one place that leave every file right by itself, and the cluster broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from paceline.deploy.checks.folder import folder_problems
from paceline.deploy.render import TARGETS, render
from paceline.tests.deploy.conftest import NEEDED

# The tracking server is the folder's own where the target brings one.
VALUES = {t: [] if t in ("compose", "kuberay", "image") else NEEDED for t in TARGETS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def written(target: str, folder: Path) -> Path:
    for name, text in render(target, None, VALUES[target]).items():
        (folder / name).write_text(text)
    return folder


def problems(folder: Path) -> list[str]:
    return [problem for found in folder_problems(folder).values() for problem in found]


def edit(path: Path, old: str, new: str, times: int = -1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, times))


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_rendered_agrees(target: str, folder: Path):
    assert problems(written(target, folder)) == []


TARGET = {"compose.yaml": "compose", "job.sh": "slurm"}  # the others are Kubernetes'
EDITS = [
    ("compose.yaml", "mlflow:5000,", "mlfow:5000,", "one that it answers"),
    ("compose.yaml", "URI: http://mlflow:5000", "URI: http://mlfow:5000", "MLflow's address"),
    ("compose.yaml", "URI: http://mlflow:5000", "URI: https://mlflow:5000", "MLflow's address"),
    ("compose.yaml", "ENDPOINT_URL: http://s3:", "ENDPOINT_URL: http://s4:", "store's address"),
    ("compose.yaml", "REGION: us-east-1", "REGION: us-east-2", "region"),
    ("compose.yaml", "--host=0.0.0.0", "--host=127.0.0.1", "outside its container"),
    ("compose.yaml", "d-host=0.0.0.0", "d-host=127.0.0.1", "outside its container"),
    ("raycluster.yaml", "secretName: paceline", "secretName: pacelinee", "secret's name"),
    ("mlflow.yaml", "namespace: paceline", "namespace: other", "namespace"),
    ("rayjob.yaml", "image: paceline:", "image: team/paceline:", "image"),
    ("mlflow.yaml", "svc:5000", "svd:5000", "one that it answers"),
    ("job.sh", "paceline resume ", "paceline resume other-", "run's name"),
    ("job.sh", "_URI=http://mlflow.", "_URI=http://other.", "MLflow's address"),
]


@pytest.mark.parametrize(("file", "old", "new", "told"), EDITS)
def test_an_edit_of_one_place_is_told(file: str, old: str, new: str, told: str, folder: Path):
    edit(written(TARGET.get(file, "kuberay"), folder) / file, old, new, 1)
    found = problems(folder)
    assert any(told in problem for problem in found), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("secretName: paceline", "secretName: x"),
        ("svc:5000", "svc:5001"),
        (": paceline\n", ": x\n"),
    ],
)
def test_the_same_edit_in_one_file_disagrees_with_the_others(old: str, new: str, folder: Path):
    edit(written("kuberay", folder) / "raycluster.yaml", old, new)
    assert problems(folder)


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("compose", "mlflow-auth.ini"),
        ("compose", "Dockerfile"),
        ("kuberay", "mlflow.yaml"),
        ("kuberay", "network-policy.yaml"),
        ("on-premise", "constraints.txt"),
    ],
)
def test_a_file_that_is_gone_is_told(target: str, file: str, folder: Path):
    (written(target, folder) / file).unlink()
    assert any(f"must have {file} beside it" in problem for problem in problems(folder))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("    privileged: true\n", "no right over the machine"),
        ("    network_mode: host\n", "no right over the machine"),
        ("    ports: ['8080:8080']\n", "127.0.0.1 alone"),
    ],
)
def test_a_service_of_somebody_may_not_open_the_machine(more: str, told: str, folder: Path):
    path = written("compose", folder) / "compose.yaml"
    mine = "  mine:\n    image: python:3.11-slim\n"
    path.write_text(path.read_text().replace("services:\n", f"services:\n{mine}"))
    assert problems(folder) == []
    path.write_text(path.read_text().replace(mine, mine + more))
    assert any(told in problem for problem in problems(folder))


def test_a_key_that_stands_twice_is_told(folder: Path):
    path = written("compose", folder) / "compose.yaml"
    path.write_text(path.read_text().replace("services:\n", "name: other\nservices:\n", 1))
    assert any("must be YAML" in problem for problem in problems(folder))

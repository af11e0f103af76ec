"""What is sent with a job and what never is, on real folders."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest
from paceline.deploy.jobs.cargo import MIB, load_cargo
from paceline.deploy.jobs.package import package_files, write_package
from paceline.platform.errors import UserError
from paceline.tests.test_wheel import is_packaged

ROOT = Path(__file__).parents[3]


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return folder


def test_code_is_sent_and_what_belongs_to_this_machine_is_not(tmp_path: Path):
    tree(tmp_path, "train.py", "models/net.py", "my.yaml")
    tree(tmp_path, ".git/config", "env/pyvenv.cfg", "env/lib/x.py", "models/__pycache__/net.pyc")
    tree(tmp_path, "data/images.bin", "build/x.o", "runs/a/run.json", "mlruns/0/meta.yaml")
    cargo = load_cargo(tmp_path)
    assert set(cargo.files) == {"train.py", "models/net.py", "my.yaml"}
    assert {".git", "env", "data", "build", "runs", "mlruns"} <= set(cargo.left_out)


@pytest.mark.parametrize(
    "name",
    [
        *(".env", "paceline.env", ".env.local", "ray.token", ".token", "key.pem", "server.key"),
        *("id_rsa", "id_ed25519.pub", ".netrc", ".pgpass", ".aws/credentials", "a/b/.ssh/config"),
    ],
)
def test_a_file_that_may_hold_a_secret_stays_here(tmp_path: Path, name: str):
    cargo = load_cargo(tree(tmp_path, "train.py", name))
    assert set(cargo.files) == {"train.py"}


def test_gitignore_and_rayignore_hold_in_their_folders_and_below(tmp_path: Path):
    tree(tmp_path, "a.py", "a.log", "sub/b.py", "sub/b.log", "sub/c.tmp", "c.tmp", "big/x", "big/y")
    (tmp_path / ".gitignore").write_text("*.log\nbig/*\n!big/y\n")
    (tmp_path / "sub" / ".rayignore").write_text("*.tmp\n")
    found = {name for name in load_cargo(tmp_path).files if "ignore" not in name}
    assert found == {"a.py", "sub/b.py", "c.tmp", "big/y"}


def test_exclude_takes_names_and_paths(tmp_path: Path):
    tree(tmp_path, "a.py", "notes/b.md", "notes/c.py", "models/notes/d.py")
    assert set(load_cargo(tmp_path, ["notes/", "a.*"]).files) == set()
    assert "models/notes/d.py" in load_cargo(tmp_path, ["notes/*"]).files


def test_a_package_named_data_is_sent_and_a_project_keeps_its_data(tmp_path: Path):
    tree(tmp_path, "data/__init__.py", "data/loader.py", "runs/x.json")
    assert set(load_cargo(tmp_path).files) == {"data/__init__.py", "data/loader.py"}
    assert "runs/x.json" in load_cargo(tmp_path, keeps_data=True).files


def test_links_that_lead_out_or_to_a_secret_are_left_out(tmp_path: Path):
    outside = tree(tmp_path / "outside", "secret.txt")
    folder = tree(tmp_path / "work", "a.py", ".env")
    (folder / "out").symlink_to(outside / "secret.txt")
    (folder / "dir").symlink_to(outside)
    (folder / "same").symlink_to(folder / "a.py")
    (folder / "hidden").symlink_to(folder / ".env")
    (folder / "round").symlink_to(folder)
    assert set(load_cargo(folder).files) == {"a.py", "same"}


def test_the_own_state_is_never_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "state"))
    assert set(load_cargo(tree(tmp_path, "a.py", "state/mine.json")).files) == {"a.py"}


def test_too_much_is_told_with_the_largest_parts(tmp_path: Path):
    tree(tmp_path, "a.py")
    (tmp_path / "weights").mkdir()
    with open(tmp_path / "weights" / "big.bin", "wb") as file:
        file.truncate(3 * MIB)
    with pytest.raises(UserError) as caught:
        load_cargo(tmp_path, max_bytes=2 * MIB)
    assert "at most 2.0 MiB" in caught.value.what
    assert "weights/: 3.0 MiB (weights/big.bin: 3.0 MiB)" in caught.value.what
    assert ".rayignore" in caught.value.remedy


def test_what_is_no_folder_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="--working-dir"):
        load_cargo(tmp_path / "nowhere")


def test_equal_files_make_equal_archives_whatever_their_times(tmp_path: Path):
    digests = set()
    for name in ("one", "two"):
        folder = tree(tmp_path / name, "a.py", "b/c.py")
        os.utime(folder / "a.py", (1, 1) if name == "one" else (10**9, 10**9))
        load_cargo(folder).write(tmp_path / f"{name}.zip")
        digests.add(hashlib.sha256((tmp_path / f"{name}.zip").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_program_stays_one(tmp_path: Path):
    (tree(tmp_path / "work", "run.sh") / "run.sh").chmod(0o755)
    load_cargo(tmp_path / "work").write(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.getinfo("run.sh").external_attr >> 16 & 0o111


def test_paceline_is_sent_as_its_wheel_would_hold_it_with_its_entry_points(tmp_path: Path):
    write_package(tmp_path / "p.zip")
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        names = set(archive.namelist())
        (points,) = [name for name in names if name.endswith("entry_points.txt")]
        assert b"[paceline.recipes]" in archive.read(points)
    assert points.startswith("paceline-")
    assert names - {points, points.replace("entry_points.txt", "METADATA")} == {
        f"paceline/{name}" for name in package_files()
    }
    assert all(is_packaged(name) for name in package_files())
    assert {"__main__.py", "constraints.txt", "lightning_modules/recipes/mlp.yaml"} <= set(
        package_files()
    )
    assert not any(name.startswith(("tests/", "build/")) for name in package_files())

"""`paceline cluster render TARGET`: what it writes, and that it never overwrites unasked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from paceline.deploy import versions
from paceline.deploy.render import TARGETS
from paceline.deploy.versions import pinned

NEEDED = ["tracking_uri=http://mlflow.example.org:5000", "head_ip=10.0.0.1", "worker_ips=10.0.0.2"]
FLAGS = [word for setting in NEEDED for word in ("--set", setting)]


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_written_with_what_it_prints(target: str, run_command):
    done = run_command("cluster", "render", target, *FLAGS)
    assert done.code == 0, done.err
    folder = Path.cwd() / f"paceline-{target}"
    written = {str(path) for path in folder.iterdir()}
    told = {line.removeprefix("wrote ") for line in done.out.splitlines() if "wrote " in line}
    assert told == written != set()


def test_json_is_one_object(run_command):
    done = run_command("cluster", "render", "compose", "--out", "here", "--json")
    assert done.code == 0
    assert done.json["target"] == "compose"
    assert done.json["folder"] == str(Path.cwd() / "here")
    assert sorted(done.json["files"]) == sorted(p.name for p in Path("here").iterdir())


def test_values_reach_the_manifests(run_command):
    Path("values.yaml").write_text("workers: 7\nname: team-a\n")
    words = ("--values", "values.yaml", "--set", "cpus=3", "--out", ".")
    assert run_command("cluster", "render", "compose", *words).code == 0
    text = Path("compose.yaml").read_text()
    assert "replicas: 7" in text
    assert "--num-cpus=3" in text
    assert "name: team-a" in text


def test_what_is_there_is_overwritten_only_with_force(run_command):
    assert run_command("cluster", "render", "image").code == 0
    assert run_command("cluster", "render", "image").code == 0  # the same again is no loss
    path = Path("paceline-image/Dockerfile")
    path.write_text("FROM mine\n")
    done = run_command("cluster", "render", "image", "--json")
    assert done.code == 2
    assert "Dockerfile" in done.json["error"]["what"]
    assert "--force" in done.json["error"]["remedy"]
    assert path.read_text() == "FROM mine\n"
    assert run_command("cluster", "render", "image", "--force").code == 0
    assert path.read_text() != "FROM mine\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("rendr", "compose"), "did you mean: render"),
        (("render", "composed"), "did you mean: compose"),
        (("render",), "`TARGET` must be given"),
        ((), "`ACTION` must be given"),
        (("render", "slurm"), "`tracking_uri` must be given for slurm, but is missing."),
        (("render", "on-premise"), "`head_ip` must be given for on-premise"),
        (("render", "compose", "--set", "wrkers=3"), "did you mean: workers"),
        (("render", "compose", "--out", "/proc/nothing"), "`--out` must be a folder"),
        (("check", "nowhere"), "`FOLDER` must be a folder of manifests"),
    ],
)
def test_a_mistake_is_one_message(words: tuple[str, ...], told: str, run_command):
    done = run_command("cluster", *words)
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err


def test_rendering_imports_no_torch_ray_or_mlflow(tmp_path: Path):
    code = """
import sys
from paceline.__main__ import main
assert main(["cluster", "render", "kuberay", "--json"]) == 0
heavy = {"torch", "ray", "mlflow", "pytorch_lightning", "jsonschema"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"] == "kuberay"


def test_versions_are_those_of_the_constraints_file(rendered):
    assert f"rayVersion: {pinned('ray')}\n" in rendered["kuberay", "raycluster.yaml"]
    assert rendered["image", "constraints.txt"] == versions.CONSTRAINTS.read_text()
    assert f"paceline-{versions.paceline()}-py3-none-any.whl" in rendered["image", "Dockerfile"]
    assert f"python:{versions.PYTHON}-" in rendered["image", "Dockerfile"]


def test_a_package_that_nobody_pinned_is_told():
    from paceline.platform.errors import UserError

    with pytest.raises(UserError, match="pip install no-such-package"):
        pinned("no-such-package")


def test_a_broken_folder_is_told_file_by_file(run_command):
    assert run_command("cluster", "render", "compose", "--out", ".").code == 0
    whole = run_command("cluster", "check", ".", "--json")
    assert whole.code == 0, whole.out
    assert whole.json["ok"] is True
    text = Path("compose.yaml").read_text()
    Path("compose.yaml").write_text(text.replace("RAY_AUTH_MODE: token", "RAY_AUTH_MODE: disabled"))
    done = run_command("cluster", "check", ".")
    assert done.code == 2
    assert "compose.yaml: broken" in done.out
    assert "RAY_AUTH_MODE: must not be 'disabled'" in done.out
    assert "Dockerfile: ok" in done.out
    Path("compose.yaml").write_text("services: [\n")
    assert "must be YAML" in run_command("cluster", "check", ".").out


def test_lines_that_end_as_on_another_system_are_told(run_command):
    words = ("--set", "tracking_uri=http://mlflow.example.org:5000", "--out", ".")
    assert run_command("cluster", "render", "slurm", *words).code == 0
    path = Path("job.sh")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    done = run_command("cluster", "check", ".")
    assert done.code == 2
    assert "job.sh: broken" in done.out


@pytest.mark.parametrize("target", ["compose", "kuberay", "aws"])
def test_a_folder_is_no_storage_where_none_is_shared(target: str, run_command):
    words = ("--set", "tracking_uri=http://m.example.org:5000", "--set", "storage=/srv/runs")
    done = run_command("cluster", "render", target, *words)
    assert done.code == 2
    assert "`storage` must be s3://bucket/folder" in done.err
    assert not Path(f"paceline-{target}").exists()

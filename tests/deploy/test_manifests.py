"""Rendered manifests keep their schemas and ours, at defaults and with other values."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from paceline.deploy.checks import compose_check, pod_check, text_checks
from paceline.deploy.checks.folder import KNOWN, file_problems
from paceline.deploy.manifests.parts import paceline_words, run_name
from paceline.deploy.render import TARGETS, render
from paceline.deploy.values import read_values

NEEDED = ["tracking_uri=http://mlflow.example.org:5000", "head_ip=10.0.0.1", "worker_ips=10.0.0.2"]
VALIDATORS = {
    "hadolint": lambda: text_checks.tool("hadolint"),
    "shellcheck": lambda: text_checks.tool("shellcheck"),
    "kubernetes-validate": pod_check.has_validator,
    "check-jsonschema": compose_check.specification,
}


@pytest.mark.parametrize("name", VALIDATORS)
def test_validator_is_installed(name: str):
    if not VALIDATORS[name]():
        pytest.skip(f"{name} is not installed, so what it would find is not looked for")


@pytest.mark.parametrize("target", TARGETS)
def test_every_file_passes_its_check(target: str, rendered, rendered_with_gpus):
    for files in (rendered, rendered_with_gpus):
        mine = {name: text for (where, name), text in files.items() if where == target}
        assert set(mine) <= KNOWN
        assert {name: file_problems(name, text) for name, text in mine.items()} == {
            name: [] for name in mine
        }


@pytest.mark.parametrize("target", ["on-premise", "aws"])
def test_ray_takes_the_launcher_file(target: str, rendered):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(rendered[target, "cluster.yaml"])
    prepared = prepare_config(config)
    validate_config(prepared)
    workers = {"on-premise": 3, "aws": 2}[target]
    assert prepared["max_workers"] == workers
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_containers_of_machines_share_the_folder_of_the_runs(rendered):
    docker = yaml.safe_load(rendered["on-premise", "cluster.yaml"])["docker"]
    assert "--volume=/srv/paceline/runs:/srv/paceline/runs" in docker["run_options"]
    assert docker["pull_before_run"] is False  # the image that was built there is in no registry
    docker = yaml.safe_load(rendered["aws", "cluster.yaml"])["docker"]
    assert not any(option.startswith("--volume") for option in docker["run_options"])


@pytest.mark.parametrize("volume", ["/etc:/srv", "/srv/runs", "/:/", "runs:runs", "/a:/a:ro"])
def test_another_folder_of_the_machine_is_told(volume: str, rendered):
    text = rendered["on-premise", "cluster.yaml"]
    broken = text.replace("/srv/paceline/runs:/srv/paceline/runs", volume)
    assert broken != text
    assert any("--volume" in found for found in file_problems("cluster.yaml", broken))


def test_mlflow_answers_the_address_that_a_forwarded_port_has(rendered):
    for target, name in (("kuberay", "mlflow.yaml"), ("compose", "compose.yaml")):
        [hosts] = re.findall(r"--allowed-hosts=(\S+)", rendered[target, name])
        assert {"localhost:5000", "127.0.0.1:5000"} <= set(hosts.split(","))


def test_a_container_with_the_runtime_of_gpus_sees_them(rendered):
    assert "NVIDIA_VISIBLE_DEVICES=all" in rendered["image", "Dockerfile"]


def test_no_file_holds_a_secret_and_every_template_is_empty(rendered):
    secret = re.compile(r"(password|token|secret_?\w*key)\s*[:=]\s*['\"]?[A-Za-z0-9/+]{8,}", re.I)
    for (target, name), text in rendered.items():
        if name.endswith((".yaml", ".sh", ".template")):
            found = [m[0] for m in secret.finditer(text) if "must" not in m[0]]
            named = [f for f in found if not re.search(r"key: [A-Z_]+$|:\s*MLFLOW_|:\s*AWS_", f)]
            assert named == [], (target, name)


def test_no_image_floats(rendered):
    for (target, name), text in rendered.items():
        assert ":latest" not in text, (target, name)


def test_a_number_of_gpus_reaches_every_target(rendered_with_gpus):
    compose = yaml.safe_load(rendered_with_gpus["compose", "compose.yaml"])
    worker = compose["services"]["ray-worker"]
    devices = worker["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 2, "capabilities": ["gpu"]}]
    assert "--num-gpus=2" in worker["command"]
    assert "nvidia.com/gpu: '2'" in rendered_with_gpus["kuberay", "raycluster.yaml"]
    assert "#SBATCH --gpus-per-node=2" in rendered_with_gpus["slurm", "job.sh"]
    assert "--num-gpus=2" in rendered_with_gpus["on-premise", "cluster.yaml"]


@pytest.mark.parametrize(
    ("command", "name", "words"),
    [
        ("sweep mlp --trials 8", "paceline-mlp", "--name paceline-mlp --address auto"),
        ("sweep mlp --name mine --storage /x/y", "paceline-mlp", "--name mine --storage /x/y"),
        ("fit team/net.yaml", "paceline-net", "--name paceline-net"),
        ("resume mine", "mine", "paceline resume mine --address auto --storage"),
    ],
)
def test_a_command_is_given_its_places_unless_it_says_them(command: str, name: str, words: str):
    values = read_values(None, [f"command={command}", "storage=/srv/runs", *NEEDED])
    assert run_name(values) == name
    line = " ".join(paceline_words(values, "auto"))
    assert words in line
    assert line.count("--name") <= 1
    assert line.count("--storage") == 1


@pytest.fixture
def slurm_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The script with programs of Slurm and Ray that note how they were called."""
    job = tmp_path / "job.sh"
    text = render("slurm", None, [*NEEDED, "workers=2"])["job.sh"]
    job.write_text(text)
    programs = {
        "scontrol": 'echo "scontrol $*" >>"$CALLS"; if [ "$1" = show ]; then echo node-1; fi',
        "srun": 'for word; do case $word in hostname) echo "10.1.2.3 172.17.0.1"; exit;; '
        "ray) break;; esac; shift; done\n"
        'echo "$*" >>"$CALLS"\n[ -n "${RAY_FAILS:-}" ] && exit 0\n'
        'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        "paceline": 'echo "paceline $*" >>"$CALLS"; trap "exit 143" TERM\n'
        '[ "$1" = show ] && exit 0\n'
        'for _ in $(seq "${ROUNDS:-1}"); do sleep 0.1; done; exit "${CODE:-0}"',
    }
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name, body in programs.items():
        path = tmp_path / ".venv" / "bin" / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    secrets = tmp_path / "paceline.env"
    secrets.write_text("RAY_AUTH_TOKEN=abc\n")
    secrets.chmod(0o600)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / '.venv' / 'bin'}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_NODELIST": "node-[1-2]",
        "SLURM_JOB_ID": "17",
        "SLURM_CPUS_PER_TASK": "4",
    }

    def start(**more: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["bash", str(job)], env=environment | more, stdout=pipe, stderr=pipe, text=True
        )

    return start


def calls(tmp_path: Path) -> str:
    path = tmp_path / "calls"
    return path.read_text() if path.exists() else ""


def test_the_slurm_script_runs_the_command_on_an_address_of_the_first_node(slurm_job, tmp_path):
    process = slurm_job(CODE="7")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7, err
    assert "--address 10.1.2.3:6379 --min-nodes 2 --num-cpus=4" in calls(tmp_path)
    assert "paceline sweep mlp --trials 32 --name paceline-mlp --address auto" in calls(tmp_path)
    assert "requeue" not in calls(tmp_path)


def test_the_slurm_script_fails_when_ray_did_not_start(slurm_job):
    process = slurm_job(RAY_FAILS="1")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Ray did not start on 2 nodes" in err


def test_the_slurm_script_ends_the_run_in_order_and_queues_it_again(slurm_job, tmp_path):
    import time

    process = slurm_job(ROUNDS="200")
    end = time.monotonic() + 20
    while "paceline sweep" not in calls(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    assert "scontrol requeue 17" in calls(tmp_path)


def test_the_slurm_script_resumes_what_a_requeued_job_left(slurm_job, tmp_path):
    process = slurm_job(SLURM_RESTART_COUNT="1")
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert "paceline resume paceline-mlp --address auto" in calls(tmp_path)
    assert "paceline sweep" not in calls(tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_the_slurm_script_refuses_secrets_that_others_read(slurm_job, tmp_path, mode: int):
    (tmp_path / "paceline.env").chmod(mode)
    process = slurm_job()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "chmod 600 paceline.env" in err


def test_the_slurm_script_refuses_to_start_without_a_token(slurm_job, tmp_path):
    (tmp_path / "paceline.env").write_text("RAY_AUTH_TOKEN=\n")
    process = slurm_job(RAY_AUTH_TOKEN="")
    _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "fill in paceline.env" in err
    assert calls(tmp_path) == ""

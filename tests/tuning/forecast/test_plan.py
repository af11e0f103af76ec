"""`paceline plan` as a user has it: figures that hold together, and nothing that is started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

SHORT = ["--measure", "1", "--seed", "1"]


def ray_processes() -> list[str]:
    ours = psutil.Process().children(recursive=True)
    return [p.name() for p in ours if p.name() in ("raylet", "gcs_server")]


def test_a_plan_tells_shape_waves_rungs_time_and_disk_and_starts_nothing(
    run_command, paceline_home: Path
):
    before = ray_processes()
    store = (paceline_home / "mlflow.db").read_bytes()
    done = run_command("plan", "mlp", "--json", "--trials", 8, *SHORT)
    assert done.code == 0, done.err
    plan = done.json
    assert plan["shape"] == {"CPU": 1.0}
    assert plan["waves"] == -(-8 // plan["width"])
    assert plan["scheduler"] == "asha"
    assert [rung["at"] for rung in plan["rungs"]] == sorted(rung["at"] for rung in plan["rungs"])
    assert 0 < plan["rungs"][0]["at"] < plan["horizon"]
    time, trial = plan["seconds"], plan["trial_seconds"]
    assert 0 < time["least"] < time["estimate"] < time["most"]
    assert 0 < time["around"] < time["estimate"]
    assert 0 < trial["least"] <= trial["median"] <= trial["most"]
    assert plan["measured"]["steps"] > 0
    assert plan["disk"]["needed"] > plan["disk"]["checkpoint"] > 1000
    assert plan["disk"]["free"] > 0
    # Nothing was started: no process, no run, no experiment, no folder.
    assert ray_processes() == before
    assert (paceline_home / "mlflow.db").read_bytes() == store
    assert {path.name for path in paceline_home.iterdir()} == {"mlflow.db"}
    client = MlflowClient(f"sqlite:///{paceline_home}/mlflow.db")
    assert [e.name for e in client.search_experiments()] == ["Default"]


def layer_sizes(*sizes: list[int]) -> str:
    knob = {"to": ["model.hidden_sizes"], "choice": sizes}
    return json.dumps({"sweep": {"space": {"layer_size": knob}}})


def test_the_rungs_are_those_of_the_sweeps_own_rule(run_command):
    from paceline.platform.configuration.config import load
    from paceline.tuning.plan import plan_sweep

    flags = ["--trainer.max_epochs", 9, "--scheduler", "hyperband", "--trials", 12]
    plan = run_command("plan", "mlp", "--json", *flags, *SHORT).json
    changes = {"trainer.max_epochs": (9, ""), "sweep.scheduler": ("hyperband", "")}
    rule = plan_sweep(load("mlp", changes, ())).rule
    assert rule is not None
    wanted = {rung for number in range(12) for rung in rule.rungs(number)}
    assert {rung["at"] for rung in plan["rungs"]} == wanted
    for rung in plan["rungs"]:
        assert rung["trials"] == sum(rung["at"] in rule.rungs(n) for n in range(12))


@pytest.mark.slow
def test_a_configuration_that_is_much_larger_is_named(run_command, tmp_path: Path):
    Path("wide.yaml").write_text(layer_sizes([64], [4096, 4096]))
    done = run_command("plan", "mlp", "--json", "--config", "wide.yaml", *SHORT)
    assert done.code == 0, done.err
    (largest, *_) = done.json["larger"]
    assert largest["values"]["layer_size"] == [4096, 4096]
    assert largest["times"] > 100
    assert done.json["never_fit"] == []


def test_a_configuration_whose_weights_exceed_the_memory_never_fits(run_command):
    # 2 x 200,000 x 200,000 weights: as data on the meta device it costs nothing to look at.
    Path("huge.yaml").write_text(layer_sizes([64], [200_000, 200_000]))
    done = run_command("plan", "mlp", "--json", "--config", "huge.yaml", *SHORT)
    assert done.code == 0, done.err
    (huge, *_) = done.json["never_fit"]
    assert huge["values"]["layer_size"] == [200_000, 200_000]
    assert huge["state_bytes"] > 1e11


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["plan", "mpl"], "mlp"),
        (["plan", "mlp", "--trails", "3"], "--trials"),
        (["plan", "mlp", "--vary", "learning_rat"], "learning_rate"),
        (["plan", "mlp", "--like", "never-was"], "never-was"),
        (["plan", "mlp", "--cpus-per-trial", "4096"], "fits"),
        (["plan", "mlp", "--measure", "long"], "--measure"),
    ],
)
def test_what_a_sweep_would_refuse_is_refused(words: list[str], told: str, run_command):
    done = run_command(*words)
    assert done.code == 2, done.out + done.err
    assert told in done.err
    assert "Traceback" not in done.err


def test_as_many_configurations_are_measured_as_there_is_time_for(run_command):
    flags = ["--json", "--trials", 8, "--seed", 1, "--trainer.max_epochs", 3]
    few, more = (
        run_command("plan", "mlp", *flags, "--measure", seconds).json for seconds in ("0.001", "6")
    )
    assert few["measured"]["configurations"] == 1
    assert few["measured"]["steps"] > 0
    assert more["measured"]["configurations"] > 3


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_told(paceline_home: Path, tmp_path: Path):
    # A process of its own: another test of this one may have left a Ray that would be used.
    command = [sys.executable, "-m", "paceline", "plan", "mlp", "--address", "127.0.0.1:1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "ray start --head" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_person_reads_a_page(run_command):
    done = run_command("plan", "mlp", *SHORT)
    assert done.code == 0, done.err
    for word in ("a trial", "room", "waves", "time", "checkpoints", "rung (epoch)", "assumed"):
        assert word in done.out

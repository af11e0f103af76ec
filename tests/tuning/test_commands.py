"""The verbs as a user types them: one JSON object, or one message and exit code 2."""

from __future__ import annotations

import json

import pytest

ONE_EPOCH = ["--trainer.max_epochs", 1]


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.usefixtures("ray_here")
def test_sweep_answers_one_object_and_show_answers_the_same(run_command):
    words = ["mlp", "--trials", 2, "--seed", 1, "--vary", "dropout,learning_rate", "--json"]
    answer = run_command("sweep", *words, *ONE_EPOCH, "--name", "two")
    assert answer.code == 0, answer.err
    result = answer.json
    assert (result["name"], result["status"], result["trials"]) == ("two", "finished", 2)
    assert set(result["best"]) == {"trial_id", "run_id", "config", "metrics", "checkpoint"}
    assert set(result["best"]["config"]) == {"model.dropout", "optimizer.lr"}
    shown = run_command("show", "two", "--json").json
    assert {**shown, "seconds": 0} == {**result, "seconds": 0}
    assert run_command("test", "two", "--json").json["metrics"]["test/accuracy"] > 0.1


@pytest.mark.parametrize(
    ("words", "where", "told"),
    [
        (["--vary", "droput"], "--vary", "dropout"),
        (["--vary", "momentum"], "sweep.space.momentum", "Adam"),
        (["--search", "grid"], "sweep.space", "grid"),
        (["--sweep.space.dropout", "{uniform: [0.5, 0.1]}"], "sweep.space.dropout", "low < high"),
        (["--sweep.space.dropout", "{choice: []}"], "sweep.space.dropout", "at least one"),
        (["--sweep.space", "{model.dropout: {choice: [0.1, 1.5]}}"], "sweep.space", "1.5"),
        (["--sweep.space", "{model.droput: {choice: [0.1]}}"], "sweep.space", "droput"),
        (["--sweep.space", "{}"], "", "at least one knob"),
        (["--workers", 2, "--trainer.devices", 2], "", "trainer.devices"),
        (["--workers", 64], "", "64 worker(s)"),
        (["--gpus-per-worker", 64], "launch", "64 GPU"),
    ],
)
@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_a_wrong_sweep_is_one_message_and_leaves_nothing(
    run_command, paceline_home, words, where, told
):
    answer = run_command("sweep", "mlp", "--trials", 2, *ONE_EPOCH, *words, "--json")
    assert answer.code == 2, answer.err
    error = answer.json["error"]
    assert where in error["where"]
    assert told in json.dumps(error)
    assert not [*(paceline_home / "runs").glob("*/run.json")]

"""The whole way over a real MLflow server: a sweep, its promotion, and the champion served."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paceline.platform.result import RunResult
from paceline.platform.tracking.store import Store
from paceline.tests.deploy.serving.conftest import Serve
from paceline.tests.deploy.serving.test_serve import scores_of, trained
from paceline.tests.platform.tracking.server import Server, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), empty_store) as server:
        yield server


def paceline_json(folder: Path, *words: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "paceline", *map(str, words), "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_sweep_on_a_server_becomes_a_champion_that_is_served(
    server: Server, serve: Serve, module_home: Path, tmp_path: Path
):
    words = ["sweep", "mlp", "--trials", 2, "--name", "pick", "--vary", "learning_rate"]
    words += ["--seed", 1, "--scheduler", "none", "--trainer.max_epochs", 2]
    paceline_json(tmp_path, *words, "--tracking-uri", server.uri)
    found = paceline_json(tmp_path, "promote", "pick", "--seeds", 2, "--name", "reader")
    assert (found["model"], found["version"], found["tracking_uri"]) == ("reader", "1", server.uri)

    store = Store(server.uri)
    version = store.client.get_model_version_by_alias("reader", "champion")
    assert version.run_id == found["taken"]["run_id"]
    logged = store.client.get_logged_model(version.tags["paceline.model_id"])
    links = json.loads(logged.tags["mlflow.modelVersions"])
    assert [(one["name"], str(one["version"])) for one in links] == [("reader", "1")]

    run = RunResult(found["taken"]["run"], "", "finished", {}, None, server.uri, 0.0)
    module, x = trained(run)
    with torch.no_grad():
        expected = module(torch.from_numpy(x))
    for word in ("reader", "models:/reader@champion", "models:/reader/1"):
        with serve(word, "--tracking-uri", server.uri) as served:
            scores = scores_of(served.ask({"inputs": x.tolist()}))
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)


def test_an_unknown_model_of_a_server_is_one_message(server: Server, module_home: Path):
    command = [sys.executable, "-m", "paceline", "serve", "redaer", "--tracking-uri", server.uri]
    done = subprocess.run([*command, "--port", "5999"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "did you mean: reader" in done.stderr
    assert "Traceback" not in done.stderr

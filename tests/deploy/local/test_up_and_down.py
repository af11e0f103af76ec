"""What `up` and `down` refuse, and that a start that fails leaves nothing; starts no Ray."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest
from paceline.deploy.local import bringing_up, processes, services
from paceline.deploy.local.bringing_up import bring_up
from paceline.deploy.local.taking_down import take_down
from paceline.platform.errors import RunError, UserError


def listening() -> tuple[socket.socket, int]:
    """Somebody else's server."""
    server = socket.create_server(("127.0.0.1", 0))
    return server, server.getsockname()[1]


@pytest.mark.parametrize("action", ["down", "status", "env", "kill"])
def test_without_a_cluster_the_verbs_say_so(action: str, run_command, paceline_home: Path):
    words = ["worker-1"] if action == "kill" else []
    done = run_command("cluster", action, *words)
    assert done.code == 2
    assert "must be a cluster of this home, but there is none" in done.err
    assert "paceline cluster up" in done.err
    assert not (paceline_home / "cluster").exists()


def test_a_port_in_use_is_one_message_and_nothing_is_made(run_command, paceline_home: Path):
    server, port = listening()
    with server:
        done = run_command("cluster", "up", "--mlflow-port", port)
    assert done.code == 2
    assert f"`--mlflow-port` must be a free port, but is {port}." in done.err
    assert "Traceback" not in done.err
    assert not (paceline_home / "cluster").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("up", "--gcs-port", 80), "must be an integer from 1024 to 65535, but is 80"),
        (("up", "--gcs-port", 7171, "--s3-port", 7171), "must be a port of its own"),
        (("up", "--nodes", 1000), "`--nodes` must be an integer from 1 to 64"),
        (("up", "--nodes", 0), "`--nodes` must be an integer >= 1"),
        (("up", "here"), "`cluster up` must have no TARGET, but has 'here'"),
        (("kill",), "`TARGET` must be given"),
        (("upp",), "did you mean: up"),
    ],
)
def test_a_mistake_is_one_message(words: tuple, told: str, run_command, paceline_home: Path):
    done = run_command("cluster", *words)
    assert done.code == 2
    assert told in done.err
    assert not (paceline_home / "cluster").exists()


def test_a_second_command_is_refused_while_one_is_at_work(run_command, paceline_home: Path):
    handle = os.open(paceline_home, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for action in ("up", "down"):
            done = run_command("cluster", action)
            assert done.code == 2
            assert "must not be started or ended twice at a time" in done.err
    finally:
        os.close(handle)


def test_a_folder_that_is_no_cluster_is_left_alone(run_command, paceline_home: Path):
    mine = paceline_home / "cluster" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    done = run_command("cluster", "up")
    assert done.code == 2
    assert "holds other things" in done.err
    assert mine.read_text() == "mine"


def test_a_start_that_fails_leaves_no_process_and_no_file(
    paceline_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ray is told to start something that fails, once the other services are up."""
    short = Path(tempfile.mkdtemp(dir="/tmp", prefix="pl"))
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    seen: list[str] = []
    at_work: dict[str, int] = {}

    def start_head(cluster):
        seen.append(cluster.id)
        at_work.update(
            {part: process.pid for process, part in processes.of_cluster(cluster.id).items()}
        )
        log = cluster.folder / "head.log"
        done = processes.start(cluster, "head", [sys.executable, "-c", "sleep"], {}, log)
        raise processes.failed(f"Ray ended with code {done.wait(20)}.", log)

    monkeypatch.setattr(bringing_up.ray_nodes, "start_head", start_head)
    monkeypatch.setattr(services, "start_mlflow", lambda cluster: None)
    with pytest.raises(RunError, match="Ray ended with code 1") as caught:
        bring_up(1, 1, {})
    assert "NameError" in caught.value.where
    assert "s3" in at_work
    assert processes.of_cluster(seen[0]) == {}
    assert not (paceline_home / "cluster").exists()
    assert list(short.iterdir()) == []
    short.rmdir()
    with pytest.raises(UserError, match="there is none"):
        take_down()


def test_what_a_killed_start_left_is_swept_away_by_down(paceline_home: Path):
    cluster = bringing_up._prepare(1, 1, {"gcs": 1, "dashboard": 2, "mlflow": 3, "s3": 4})
    process = processes.start(
        cluster,
        "s3",
        [sys.executable, "-c", "import time; time.sleep(60)"],
        {},
        cluster.folder / "l",
    )
    ended, count = take_down()
    assert (ended.id, count) == (cluster.id, 1)
    process.wait(10)
    assert not (paceline_home / "cluster").exists()
    assert not Path(cluster.runtime).exists()
    assert not cluster.database or not Path(cluster.database).exists()


def test_down_after_a_restart_of_the_machine_touches_nobody(paceline_home: Path):
    """No process has the mark any more, whoever has the numbers now."""
    cluster = bringing_up._prepare(1, 1, {"gcs": 1, "dashboard": 2, "mlflow": 3, "s3": 4})
    assert take_down()[1] == 0
    assert not cluster.folder.exists()


def test_a_damaged_state_is_told_and_not_acted_upon(run_command, paceline_home: Path):
    folder = paceline_home / "cluster"
    folder.mkdir()
    (folder / "local.json").write_text(json.dumps({"id": "x", "folder": "/"}))
    for action in ("down", "up", "status"):
        done = run_command("cluster", action)
        assert done.code == 2
        assert "but is damaged" in done.err


def test_secrets_are_long_differ_and_are_their_owners_alone(paceline_home: Path):
    cluster = bringing_up._prepare(1, 1, {"gcs": 1, "dashboard": 2, "mlflow": 3, "s3": 4})
    try:
        files = [p for p in cluster.folder.iterdir() if p.is_file()]
        assert {p.stat().st_mode & 0o077 for p in files} == {0}
        assert cluster.folder.stat().st_mode & 0o777 == 0o700
        texts = [cluster.secret(n) for n in ("ray-token", "mlflow-password", "database-password")]
        assert len(set(texts)) == 3
        assert min(map(len, texts)) == 64
        told = (cluster.folder / "profile.json").read_text()
        told += (cluster.folder / "local.json").read_text()
        assert not any(text in told for text in texts)
    finally:
        take_down()

"""Ctrl-C and SIGTERM on a real process: everything gets its end, and the shell its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from paceline.platform.tracking.store import Store
from paceline.tuning.journal import read_rows
from paceline.tuning.show import show

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def start_sweep(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """A sweep that would take minutes."""
    command = [sys.executable, "-m", "paceline", "sweep", "mlp", "--name", "long", "--json"]
    command += ["--trials", "50", "--trainer.max_epochs", "500", "--scheduler", "none"]
    with log.open("wb") as err:
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=err)


def wait_for_report(home: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while read_rows(home / "runs" / "long", "val/loss", "min").epochs < 3:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def check_that_warm_processes_train(home: Path, driver: int) -> None:
    """Trials are where imports were done before, not in processes that were started for them."""
    lines = (home / "runs" / "long" / "trials.jsonl").read_text().splitlines()
    began = json.loads(lines[0])["time"]
    family = psutil.Process(driver).children(recursive=True)
    training = [p for p in family if (p.cmdline() or [""])[0].startswith("ray::ImplicitFunc")]
    assert len(training) >= 1
    assert all(process.create_time() < began for process in training)


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM],
    ids=["ctrl-c", "sigterm"],
)
def test_one_signal_ends_the_sweep_with_nothing_left_running(
    number: signal.Signals, paceline_home: Path, tmp_path: Path
):
    log = tmp_path / "stderr.txt"
    process = start_sweep(tmp_path, log)
    try:
        wait_for_report(paceline_home, process, log)
        check_that_warm_processes_train(paceline_home, process.pid)
        process.send_signal(number)
        began = time.monotonic()
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number, log.read_text()
    assert time.monotonic() - began < 30
    answer = json.loads(out)
    assert answer["status"] == "killed"
    assert answer["best"] is not None
    assert "Traceback" not in log.read_text()
    store = Store(answer["tracking_uri"])
    children = store.children(answer["run_id"])
    assert set(children.values()) == {"killed"}
    assert len(children) == answer["trials"] > 0
    assert store.client.get_run(answer["run_id"]).info.status == "KILLED"
    assert show("long")[0]["status"] == "killed"


def test_a_sweep_whose_driver_was_killed_is_not_shown_as_running(
    paceline_home: Path, tmp_path: Path
):
    folder = paceline_home / "runs" / "gone"
    folder.mkdir(parents=True)
    state = {"kind": "sweep", "name": "gone", "status": "running", "run_id": "x"}
    state |= {"metric": "val/loss", "mode": "min", "tracking_uri": "sqlite:///x", "best": None}
    (folder / "run.json").write_text(json.dumps(state))
    (folder / "lock").write_text(str(os.getpid()))
    answer, text = show("gone")
    assert answer["status"] == "killed"
    assert text.endswith("  go on         paceline resume gone")

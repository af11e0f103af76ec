from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from paceline.platform.ports import free_port


def test_a_server_that_runs_already_is_only_named(run_command):
    answer = run_command("ui", "--tracking-uri", "http://127.0.0.1:9", "--json")
    assert answer.code == 0
    assert answer.json == {"url": "http://127.0.0.1:9", "tracking_uri": "http://127.0.0.1:9"}


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return page.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.fixture
def port() -> int:
    return free_port()


def test_the_page_is_served_until_the_command_is_ended_and_not_longer(
    paceline_home: Path, tmp_path: Path, port: int
):
    command = [sys.executable, "-m", "paceline", "ui", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        with process:
            url = f"http://127.0.0.1:{port}"
            assert process.stderr is not None
            err = ""
            while process.poll() is None and "MLflow: " not in err:
                err += process.stderr.readline()
            assert answers(f"{url}/health")  # it is told when it is there
            process.send_signal(signal.SIGTERM)
            err += process.communicate(timeout=60)[1]  # until the server has closed its end too
    finally:
        watchdog.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # nothing may outlive the test, not even a slip
    assert process.returncode == 143
    assert f"MLflow: {url}  (store sqlite:///{paceline_home}/mlflow.db" in err
    assert not answers(url)

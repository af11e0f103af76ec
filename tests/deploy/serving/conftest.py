"""Two trained classifiers, and `paceline serve` as a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paceline
import pytest
from paceline.platform.ports import free_port
from paceline.platform.result import RunResult

QUICK = {"trainer.max_epochs": 1, "tracking.log_model": False}


@dataclass
class Served:
    """A serving process."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, body: Any = None, path: str = "/invocations", **headers: str) -> tuple[int, Any]:
        """Status and JSON of one request; a GET without a body."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if data is not None else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data, given)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        return status, json.loads(content) if content.strip().startswith(b"{") else content

    def end(self, signum: int) -> tuple[int, dict[str, Any], str]:
        """Exit code, answer and log of the process after a signal."""
        self.process.send_signal(signum)
        out, _ = self.process.communicate(timeout=90)
        return self.process.returncode, json.loads(out), self.log.read_text()


Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """`with serve("NAME", *flags) as served:`; the process is ended behind it."""

    @contextlib.contextmanager
    def serving(model: str, *flags: object, timeout: float = 90.0) -> Iterator[Served]:
        port, folder = free_port(), tmp_path_factory.mktemp("serving")
        command = [sys.executable, "-m", "paceline", "serve", model, "--port", str(port), "--json"]
        with (folder / "log.txt").open("w") as log:
            process = subprocess.Popen(
                [*command, *map(str, flags)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
            )
        served = Served(process, port, folder / "log.txt")
        try:
            deadline = time.monotonic() + timeout
            while "is answered" not in served.log.read_text():
                assert process.poll() is None, served.log.read_text()
                assert time.monotonic() < deadline, served.log.read_text()
                time.sleep(0.1)
            yield served
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(60)
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    return serving


@pytest.fixture(scope="module")
def mlp(module_home: Path) -> RunResult:
    """A perceptron on digits."""
    return paceline.fit("mlp", name="reader", seed=1, config=QUICK)


@pytest.fixture(scope="module")
def cnn(module_home: Path) -> RunResult:
    """A convolutional classifier of pictures."""
    config = {**QUICK, "model.channels": [4, 8]}
    return paceline.fit("cnn-fashion-mnist", name="seer", seed=1, data="digits", config=config)

"""A user beside a cluster: commands typed in a shell that knows only `$PACELINE_HOME`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class User:
    """Types commands, of Paceline and of MLflow.

    Args:
        cluster: What the fixture `local_cluster` yields.
    """

    def __init__(self, cluster: Any):
        self.home: Path = cluster.home
        self.profile = cluster.profile
        self.secrets: dict[str, str] = cluster.environment

    def start(
        self, *words: object, cwd: Path | None = None, program: str = "paceline"
    ) -> subprocess.Popen[str]:
        """Begin a command; MLflow's has the tracking server's account in its environment."""
        environment = {**os.environ, "PACELINE_HOME": str(self.home)}
        if program == "mlflow":
            names = [name for name in self.secrets if name.startswith("MLFLOW_")]
            environment |= {name: self.secrets[name] for name in names}
        return subprocess.Popen(
            [sys.executable, "-m", program, *map(str, words)],
            cwd=cwd or self.home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        *words: object,
        cwd: Path | None = None,
        program: str = "paceline",
        timeout_s: float = 150,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*words, cwd=cwd, program=program)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{words} took over {timeout_s} s:\n{out}\n{err}") from None
        return subprocess.CompletedProcess(words, process.returncode, out, err)


def wait_for(found: Callable[[], Any], timeout_s: float = 90) -> Any:
    """Wait for something to be, and give it."""
    deadline = time.monotonic() + timeout_s
    while not (answer := found()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return answer

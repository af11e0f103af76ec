"""`mlflow server` as a real process, which can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import requests
from paceline.platform.ports import free_port


@contextlib.contextmanager
def serving(folder: Path, store: Path) -> Iterator[Server]:
    """A server on a copy of a SQLite store.

    Args:
        folder: Where the copy and all else of the server lies.
        store: The store, with MLflow's tables in it.
    """
    shutil.copy(store, folder / "mlflow.db")
    server = Server(folder, f"sqlite:///{folder / 'mlflow.db'}")
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Server:
    """`mlflow server` on 127.0.0.1.

    Args:
        folder: Where it keeps its log and the artifacts.
        backend: URI of its database.
    """

    def __init__(self, folder: Path, backend: str):
        self.folder, self.backend, self.port = folder, backend, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", self.backend]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with open(self.folder / "server.log", "ab") as log:
            # A session of its own, so that the workers end with it.
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self.uri}/health", timeout=2).ok:
                    return
            except requests.RequestException:
                time.sleep(0.1)
        raise RuntimeError((self.folder / "server.log").read_text())

    def stop(self) -> None:
        """Kill it, its workers too."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

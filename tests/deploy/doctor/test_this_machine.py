"""One machine without Ray, in every way ill that can be arranged for a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from paceline.tests.deploy.doctor.visits import (
    Doctor,
    Visit,
    damaged_data,
    open_token,
    packages_of_others,
)

VISIT = f"of process {os.getpid()}"  # in the environment of all that the visit starts


class Stranger(BaseHTTPRequestHandler):
    """A web server that is no MLflow, and lives an hour in the future."""

    def do_GET(self) -> None:
        self.send_response_only(200)
        self.send_header("Date", "Fri, 01 Jan 2100 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def seen() -> dict[str, Visit]:
    """The one visit that the tests of this file share, once it was made."""
    return {}


@pytest.fixture
def visit(seen: dict[str, Visit], stranger: str, tmp_path: Path, doctor: Doctor) -> Visit:
    """A visit to a machine with full disks, a small `/dev/shm` and all that ails a process."""
    tried = shutil.which("unshare") and subprocess.run(["unshare", "-m", "true"]).returncode == 0
    if not tried:
        pytest.skip("needs the right to mount in a namespace of its own: unshare -m")
    if not seen:
        home, store = tmp_path / "user", tmp_path / "store"
        (home / ".ray").mkdir(parents=True)
        store.mkdir()
        open_token(home / ".ray" / "auth_token")
        mounts = f"mount -t tmpfs -o size=4m,ro tmpfs {store}"
        mounts += " && mount -t tmpfs -o size=32m tmpfs /dev/shm"
        seen["once"] = doctor(
            *("--storage", store, "--tracking-uri", stranger),
            before=mounts,
            VISIT=VISIT,
            HOME=str(home),
            PYTHONPATH=str(packages_of_others(tmp_path / "packages")),
            PACELINE_DATA=str(damaged_data(tmp_path / "data")),
            GLOO_SOCKET_IFNAME="no-such-network",
            MLFLOW_ALLOW_PICKLE_DESERIALIZATION="true",
        )
    return seen["once"]


# row -> what it says, what its remedy names
RED = {
    "versions": ("mlflow 2.0.0 is outside", "pip install 'mlflow"),
    "lightning": ("lightning stands beside pytorch_lightning", "pip uninstall lightning"),
    "all-reduce": ("no-such-network", "GLOO_SOCKET_IFNAME"),
    "disk": ("of 4.", "make room"),
    "shared memory": ("/dev/shm: 33.6 MB", "--shm-size"),
    "storage": ("cannot be written: Read-only file system", "--storage"),
    "tracking": ("is no MLflow server", "see who listens there"),
    "tokens": ("auth_token can be read by others (mode 0644)", "chmod 600"),
    "clocks": ("tracking server: +", "NTP"),
    "data sets": ("must hold 47040016 bytes, but is 13", "paceline data get"),
    "pickles": ("MLFLOW_ALLOW_PICKLE_DESERIALIZATION=true", "unset it"),
}


@pytest.mark.parametrize("row", RED)
def test_a_fault_is_red_and_has_a_remedy(row: str, visit: Visit):
    found, remedy = RED[row]
    told = visit.rows[row]
    assert told["state"] == "FAIL", told
    assert found in told["found"]
    assert remedy in told["remedy"]


def test_the_rest_is_not_red_and_the_exit_code_tells_of_what_is(visit: Visit):
    states = {name: row["state"] for name, row in visit.rows.items()}
    assert {name for name, state in states.items() if state == "FAIL"} == set(RED)
    assert states["cluster"] == "skipped"
    # Of a server that is none of MLflow's nothing more is said.
    assert states["tracking host check"] == states["tracking password"] == "skipped"
    assert states["CPU"] == states["memory"] == "ok"
    assert visit.code == 1


def test_nothing_of_ray_was_started(visit: Visit):
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            left += [process.name()] if process.environ().get("VISIT") == VISIT else []
    assert left == []


@pytest.mark.slow
def test_a_machine_that_is_well_is_told_so(doctor: Doctor, tmp_path: Path):
    found = doctor(HOME=str(tmp_path))
    assert found.code == 0, found.answer
    assert found.answer["ok"]
    assert {row["state"] for row in found.rows.values()} <= {"ok", "warn", "skipped"}
    assert not (tmp_path / "paceline-home" / "runs").exists()  # it leaves nothing behind


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["--storage", "s3://bucket/prefix?endpoint_override=http://127.0.0.1:1"], "AWS_"),
        (["--tracking-uri", "http://127.0.0.1:1"], "mlflow server"),
    ],
)
def test_what_does_not_answer_is_a_red_row(
    words: list[str], remedy: str, run_command, monkeypatch: pytest.MonkeyPatch
):
    from paceline.deploy.doctor import examination

    row = {"--storage": "storage", "--tracking-uri": "tracking"}[words[0]]
    plain = examination.Examination.rows
    only = lambda self: [one for one in plain(self) if one[0] == row]  # noqa: E731
    monkeypatch.setattr(examination.Examination, "rows", only)
    done = run_command("doctor", "--json", *words)
    assert done.code == 1, done.err
    (told,) = [one for one in done.json["rows"] if one["name"] == row]
    assert told["state"] == "FAIL"
    assert remedy in told["remedy"]


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_a_red_row(doctor: Doctor, tmp_path: Path):
    found = doctor("--address", "127.0.0.1:1", HOME=str(tmp_path))
    assert found.code == 1
    assert found.rows["cluster"]["state"] == "FAIL"
    assert "ray start --head" in found.rows["cluster"]["remedy"]
    assert "Connection refused" in found.rows["cluster"]["found"]


def test_somebody_who_listens_and_says_nothing_costs_one_limit(doctor: Doctor, tmp_path: Path):
    with socket.create_server(("", 0)) as silent:  # at each address that Ray may make of it
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        data = str(damaged_data(tmp_path / "data"))
        variables = {"PACELINE_DATA": data, "GLOO_SOCKET_IFNAME": "no-such-network"}  # soon told
        found = doctor("--address", address, "--timeout", 3, HOME=str(tmp_path), **variables)
    assert found.rows["cluster"]["state"] == "FAIL"
    assert "no answer in 3 s" in found.rows["cluster"]["found"]
    assert found.rows["storage"]["state"] == "ok"  # what can be seen from here is looked at
    assert found.answer["seconds"] < 30


def test_a_wrong_flag_is_the_users_mistake(run_command):
    done = run_command("doctor", "--adress", "auto")
    assert done.code == 2
    assert "--address" in done.err
    done = run_command("doctor", "--timeout", "soon")
    assert done.code == 2
    done = run_command("doctor", "--tracking-uri", "file:./mlruns")
    assert done.code == 2

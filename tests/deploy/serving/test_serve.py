"""`paceline serve` as a process: its answers, what it refuses, and how it ends."""

from __future__ import annotations

import csv
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paceline.deploy.serving.commands import serve_command
from paceline.deploy.serving.door import Door
from paceline.deploy.serving.server import Server, bind
from paceline.platform.arguments import parse
from paceline.platform.errors import UserError
from paceline.platform.evaluation import find_trained, predict, prepare_alone
from paceline.platform.ports import free_port
from paceline.platform.result import RunResult
from paceline.platform.tracking.registry import add_version, move_alias
from paceline.platform.tracking.store import Store
from paceline.platform.training import fitting
from paceline.tests.deploy.serving.conftest import Serve, Served

CLIENT = Path(__file__).with_name("client.py")


@pytest.fixture(scope="module")
def store(mlp: RunResult) -> Store:
    return Store(mlp.tracking_uri, "mlp").open()


@pytest.fixture(scope="module")
def champion(mlp: RunResult, store: Store) -> str:
    """The perceptron as version 1 of a registered model."""
    module = trained(mlp)[0]
    version = add_version(
        store,
        "digits",
        mlp.run_id,
        module,
        tags={},
        description="",
    )
    move_alias(store, version, "champion")
    return "digits"


@pytest.fixture(scope="module")
def served(champion: str, serve: Serve) -> Iterator[Served]:
    with serve(champion, "--max-body", 1) as found:
        yield found


def trained(run: RunResult) -> tuple[Any, np.ndarray]:
    """A run's module with its best weights, and inputs of its test set."""
    config, checkpoint, _ = find_trained(run.name, {}, (), None)
    built = prepare_alone(config, checkpoint)
    fitting.load_weights(built.model, checkpoint)
    assert built.data is not None
    built.data.setup("predict")
    batches = list(built.data.predict_dataloader())
    x = torch.cat([b[0] if isinstance(b, (list, tuple)) else b for b in batches])
    return built.model.eval(), x.numpy()


def scores_of(answer: tuple[int, Any]) -> np.ndarray:
    status, content = answer
    assert status == 200, content
    return np.array(content["predictions"])


def csv_scores(path: str) -> np.ndarray:
    with open(path) as file:
        return np.array(
            [[float(r[f"scores_{k}"]) for k in range(10)] for r in csv.DictReader(file)]
        )


def test_a_registered_perceptron_answers_what_predict_writes(served: Served, mlp: RunResult):
    module, x = trained(mlp)
    found = scores_of(served.ask({"inputs": x.tolist()}))
    written = csv_scores(predict(mlp.name).extra["predictions"])
    assert found.shape == written.shape
    np.testing.assert_allclose(found, written, rtol=0, atol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(found, module(torch.from_numpy(x)), rtol=0, atol=1e-6)


def test_a_run_of_a_classifier_of_pictures_is_served_by_its_name(serve: Serve, cnn: RunResult):
    module, x = trained(cnn)
    with serve(cnn.name) as served:
        found = scores_of(served.ask({"instances": x.tolist()}))
        code, answer, _ = served.end(signal.SIGINT)
    written = csv_scores(predict(cnn.name).extra["predictions"])
    np.testing.assert_allclose(found, written, rtol=0, atol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(found, module(torch.from_numpy(x)), rtol=0, atol=1e-6)
    assert (code, answer["requests"], answer["failed"]) == (130, 1, 0)


def test_all_forms_of_the_protocol_give_the_same_and_flat_rows_are_folded(
    served: Served, mlp: RunResult
):
    _, x = trained(mlp)
    x = x[:3]
    flat = x.reshape(3, -1).tolist()
    columns = [f"pixel{i}" for i in range(64)]
    expected = scores_of(served.ask({"inputs": x.tolist()}))
    for body in (
        {"instances": x.tolist()},
        {"inputs": flat},
        {"dataframe_split": {"columns": columns, "data": flat}},
        {"dataframe_split": {"data": flat}},
        {"dataframe_records": [dict(zip(columns, row, strict=True)) for row in flat]},
    ):
        status, content = served.ask(body)
        assert status == 200, (list(body), content)
        predictions = content["predictions"]
        np.testing.assert_allclose(np.array(predictions), expected, rtol=0, atol=1e-6)
    one = scores_of(served.ask({"inputs": flat[:1]}))
    np.testing.assert_allclose(one, expected[:1], rtol=0, atol=1e-5)


def test_it_says_that_it_is_well_and_of_which_version(served: Served):
    import mlflow

    assert served.ask(path="/ping")[0] == served.ask(path="/health")[0] == 200
    assert served.ask(path="/version") == (200, mlflow.__version__.encode())


ROW = [0.0] * 64
BAD = {
    "no JSON": (b"{", "JSON"),
    "not UTF-8": (b'{"inputs": "\xff"}', "JSON"),
    "a list": ([ROW], "list"),
    "no known field": ({"data": [ROW]}, "must be a JSON dictionary"),
    "two fields": ({"inputs": [ROW], "instances": [ROW]}, "exactly one"),
    "another shape": ({"inputs": [[0.0] * 63]}, "must have the shape any x 1 x 8 x 8"),
    "many of another shape": ({"inputs": [[0.5] * 63] * 200}, "A batch must have the shape"),
    "too deep a shape": ({"inputs": [[[[[0.0]]]]]}, "must have the shape"),
    "a single number": ({"inputs": 1.0}, "must have the shape"),
    "no example": ({"inputs": []}, "must have"),
    "ragged rows": ({"inputs": [ROW, ROW[:3]]}, ""),
    "words": ({"inputs": [["a"] * 64]}, ""),
    "nothing": ({"inputs": None}, ""),
    "a NaN": (json.dumps({"inputs": [[float("nan")] * 64]}).encode(), "finite"),
    "too large for a float32": (json.dumps({"inputs": [[1e39] * 64]}).encode(), "of float32"),
    "a name": ({"inputs": {"pixels": [ROW]}}, ""),
    "params": ({"inputs": [ROW], "params": {"device": "cuda"}}, "params"),
    "a broken frame": ({"dataframe_split": {"columns": ["a"], "data": [ROW]}}, ""),
    "nesting without end": (b'{"inputs": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested"),
    "a huge number": (b'{"inputs": [[' + b"9" * 5000 + b"]]}", ""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_one_message_without_a_traceback(served: Served, name: str):
    body, told = BAD[name]
    status, answer = served.ask(body)
    assert status == 400, answer
    assert set(answer) == {"error_code", "message"}
    assert told in answer["message"]
    assert "Traceback" not in answer["message"]
    assert len(answer["message"]) <= 500


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"Host": "evil.example.org"}, "/ping", 403),
        ({"Host": "127.0.0.1:1"}, "/invocations", 403),
        ({"Origin": "http://evil.example.org"}, "/invocations", 403),
        ({"Origin": "null"}, "/invocations", 403),
        ({}, "/docs", 404),
        ({}, "/openapi.json", 404),
        ({}, "/", 404),
        ({"Content_Type": "text/plain"}, "/invocations", 415),
        ({"Content_Type": "text/csv"}, "/invocations", 415),
        ({"Content_Encoding": "gzip"}, "/invocations", 415),
        ({"Content_Type": "application/json; charset=latin-1"}, "/invocations", 415),
    ],
)
def test_a_foreign_page_and_an_unknown_path_are_refused(
    served: Served, headers: dict[str, str], path: str, status: int
):
    body = {"inputs": [ROW]} if path == "/invocations" else None
    found, answer = served.ask(body, path, **headers)
    assert found == status, answer
    assert set(answer) == {"error_code", "message"}


def test_this_hosts_own_names_are_let_in(served: Served):
    for name in ("localhost", "127.0.0.1"):
        origin = f"http://{name}:{served.port}"
        status, _ = served.ask({"inputs": [ROW]}, Host=f"{name}:{served.port}", Origin=origin)
        assert status == 200


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(served: Served):
    status, answer = served.ask({"inputs": [ROW] * 4000})
    assert (status, "at most 1048576 bytes" in answer["message"]) == (413, True)

    def chunks() -> Iterator[bytes]:
        yield b'{"inputs": ['
        for _ in range(40):
            yield b"0," * 20_000

    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/invocations", chunks(), headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert served.ask({"inputs": [ROW]})[0] == 200


def test_it_listens_on_loopback_alone(served: Served):
    import psutil

    found = [
        c.laddr
        for c in psutil.Process(served.process.pid).net_connections()
        if c.status == "LISTEN"
    ]
    assert {(address.ip, address.port) for address in found} == {("127.0.0.1", served.port)}


def test_it_says_that_it_answers_when_it_can_be_connected_to():
    with bind(0) as listener:
        address = listener.getsockname()
        found = []

        def ready() -> None:
            with socket.socket() as probe:
                found.append(probe.connect_ex(address))
            server.should_exit = True

        async def nobody(scope: Any, receive: Any, send: Any) -> None:
            raise AssertionError("no request was sent")

        server = Server(Door(nobody, address[1], 1), ready)
        server.serve_until_told(listener)
    assert found == [0]


def load(port: int, clients: int, seconds: float, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(CLIENT), str(port), str(clients), str(seconds), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def told_by(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=150)
    return json.loads(out)


def test_nothing_is_lost_under_load_and_while_it_ends(serve: Serve, champion: str):
    body = json.dumps({"inputs": [ROW]}).encode()
    with (
        serve(champion) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=60) as slow,
    ):
        crowds = [load(served.port, 4, 60, "keep"), load(served.port, 4, 60)]
        head = f"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        slow.sendall(head.encode() + body[:10])
        time.sleep(2.5)
        served.process.send_signal(signal.SIGTERM)
        found = [told_by(crowd) for crowd in crowds]
        slow.sendall(body[10:])  # a request that was under way when the signal came
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        out, _ = served.process.communicate(timeout=60)
        log = served.log.read_text()
    assert served.process.returncode == 143
    for crowd in found:
        assert crowd["lost"] == crowd["wrong"] == crowd["hung"] == 0, found
        assert set(crowd["statuses"]) == {"200"}
        assert crowd["sent"] == crowd["answered"] > 20
        assert crowd["refused"] == 4  # each client ended because nobody listened any more
    assert sum(crowd["answered"] for crowd in found) + 1 == json.loads(out)["requests"]
    assert "Traceback" not in log


def refused(*words: str) -> UserError:
    with pytest.raises(UserError) as caught:
        serve_command(parse(["serve", *words]))
    return caught.value


def test_what_cannot_be_served_is_one_message(champion: str, mlp: RunResult):
    port = str(free_port())
    error = refused("digit", "--port", port)
    assert "did you mean: digits" in error.remedy
    error = refused("digits", "--alias", "champ", "--port", port)
    assert (error.where, error.remedy) == ("it has champion", "--alias champion")
    error = refused("models:/digits/7", "--port", port)
    assert "must be the address of a model that there is" in error.what
    error = refused("digits", "--address", "auto", "--port", port)
    assert "must stand beside `--replicas`" in error.what
    assert "from 1 to 65535" in refused("digits", "--port", "65536").what


def test_a_port_in_use_is_one_message(champion: str):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = refused("digits", "--port", str(port))
    assert error.what == f"`--port` must be a free port, but is {port}."
    assert f"--port {port + 1}" in error.remedy

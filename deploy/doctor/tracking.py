"""The tracking server: does it answer, take a run, check hosts, and ask who one is?

Asked by plain HTTP, as any client of another language would, so that no setting of MLflow's own
client stands between. What is written is deleted again; MLflow keeps what is deleted out of sight
until `mlflow gc`.
"""

from __future__ import annotations

import email.utils
import ipaddress
import os
import secrets
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import requests

from ...platform.errors import PacelineError
from ...platform.tracking.store_check import check_store, innermost
from ...platform.tracking.uri import public_uri, sqlite_path
from .row import FAIL, OK, SKIPPED, WARN, Row

FOREIGN_HOST = "paceline-doctor.invalid"
TIMEOUT_S = 5.0
_API = "/api/2.0/mlflow"
_NOT_ASKED = "no MLflow server answers"


class Server:
    """An MLflow server, or what is taken for one.

    Args:
        uri: Its address.
    """

    def __init__(self, uri: str):
        self.uri = uri
        self.offset: tuple[float, float] | None = None
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        self._auth = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user else None
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        self._headers = {"Authorization": f"Bearer {token}"} if token and not user else {}

    def ask(
        self, method: str, path: str, *, as_us: bool = True, host: str | None = None, **more: Any
    ) -> requests.Response:
        """One request, with our credentials or without any."""
        headers = dict(self._headers) if as_us else {}
        if host is not None:
            headers["Host"] = host
        sent = time.time()
        with requests.Session() as session:
            session.trust_env = False  # a password of ~/.netrc would stand in for ours
            auth = self._auth if as_us else None
            answer = session.request(
                method, self.uri + path, headers=headers, auth=auth, timeout=TIMEOUT_S, **more
            )
        self._note_clock(answer, sent)
        return answer

    def _note_clock(self, answer: requests.Response, sent: float) -> None:
        """How far its clock is ahead, by the `Date` header, which is cut to whole seconds."""
        text = answer.headers.get("Date")
        if text is None:
            return
        now = time.time()
        try:
            theirs = email.utils.parsedate_to_datetime(text).timestamp() + 0.5
        except ValueError:
            return
        self.offset = (theirs - (sent + now) / 2, 0.5 + (now - sent) / 2)


def look_at_store(uri: str, server: Server | None) -> Row:
    """Whether the store answers and takes a run."""
    name = "tracking"
    try:
        if server is None:
            check_store(uri)
            kind = "SQLite" if sqlite_path(uri) else "database"
            return Row(name, OK, f"{kind}, can be written: {public_uri(uri)}")
        return _look_at_server(name, server)
    except PacelineError as error:
        return Row(name, FAIL, error.what, error.remedy)
    except requests.RequestException as error:
        remedy = "start it (paceline ui, mlflow server, paceline cluster up), or mend the address"
        return Row(name, FAIL, f"{uri} does not answer: {innermost(error)}", remedy)


def _look_at_server(name: str, server: Server) -> Row:
    health = server.ask("GET", "/health")
    version = server.ask("GET", "/version")
    is_mlflow = health.ok and _is_version(version)
    if not is_mlflow and (version.status_code in (401, 403) or health.status_code in (401, 403)):
        return _refused(name, server, version.status_code)
    if not is_mlflow:
        found = f"{server.uri} is no MLflow server: /health says {health.status_code}, "
        found += f"/version says {version.status_code} {version.text[:40]!r}"
        return Row(name, FAIL, found, "see who listens there; mlflow server names its address")
    began = time.perf_counter()
    problem = _write(server)
    if problem is not None:
        return problem if isinstance(problem, Row) else Row(name, FAIL, *problem)
    spent = 1000 * (time.perf_counter() - began)
    found = f"MLflow {version.text.strip()} at {server.uri}, took a run in {spent:.0f} ms"
    return Row(name, OK, found)


def _refused(name: str, server: Server, status: int) -> Row:
    """The server does not let us in."""
    given = [n for n in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN") if n in os.environ]
    if status == 403:
        host = urlsplit(server.uri).netloc
        remedy = f"start it with --allowed-hosts {host}, or get the right to write"
    elif given:
        remedy = f"see that {' and '.join(given)} and the password are right"
    else:
        remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return Row(name, FAIL, f"{server.uri} does not let us in ({status})", remedy)


def _write(server: Server) -> Row | tuple[str, str] | None:
    """Write a run with one metric, read it back and delete it; None: all went well."""
    experiment = f"paceline-doctor-{secrets.token_hex(4)}"
    made = server.ask("POST", f"{_API}/experiments/create", json={"name": experiment})
    if made.status_code in (401, 403):
        return _refused("tracking", server, made.status_code)
    if not made.ok:
        return _broken("create an experiment", made)
    number = made.json()["experiment_id"]
    try:
        return _write_run(server, number)
    finally:
        server.ask("POST", f"{_API}/experiments/delete", json={"experiment_id": number})


def _write_run(server: Server, experiment: str) -> tuple[str, str] | None:
    now = int(1000 * time.time())
    body = {"experiment_id": experiment, "start_time": now, "run_name": "doctor"}
    made = server.ask("POST", f"{_API}/runs/create", json=body)
    if not made.ok:
        return _broken("create a run", made)
    run_id = made.json()["run"]["info"]["run_id"]
    point = {"run_id": run_id, "key": "doctor", "value": 0.5, "timestamp": now, "step": 0}
    logged = server.ask("POST", f"{_API}/runs/log-metric", json=point)
    if not logged.ok:
        return _broken("log a metric", logged)
    read = server.ask("GET", f"{_API}/runs/get", params={"run_id": run_id})
    metrics = read.json().get("run", {}).get("data", {}).get("metrics", []) if read.ok else []
    if [metric.get("value") for metric in metrics] != [0.5]:
        return f"{server.uri} does not give back the metric that it took", "read the server's log"
    server.ask("POST", f"{_API}/runs/delete", json={"run_id": run_id})
    return None


def _broken(what: str, answer: requests.Response) -> tuple[str, str]:
    try:
        reason = str(answer.json().get("message", ""))
    except ValueError:
        reason = answer.text
    reason = reason.strip().partition("\n")[0][:200]
    remedy = "read the server's log; is its disk full, its database up, its schema migrated?"
    return f"the server cannot {what}: {answer.status_code} {reason}".strip(), remedy


def look_at_hosts(server: Server | None) -> Row:
    """Whether a request with a foreign `Host` is refused, as a hostile page would make one."""
    name = "tracking host check"
    if server is None:
        return Row(name, SKIPPED, "no server")
    if not _is_mlflow(server):
        return Row(name, SKIPPED, _NOT_ASKED)
    path = f"{_API}/experiments/search?max_results=1"
    answer = server.ask("GET", path, host=FOREIGN_HOST)
    if answer.status_code == 403:
        return Row(name, OK, "a foreign Host is refused (403)")
    remedy = "start it with --allowed-hosts NAME:PORT, without '*'"
    found = f"a request for the host {FOREIGN_HOST} is answered ({answer.status_code})"
    return Row(name, FAIL, f"{found}: a web page could read the record", remedy)


def look_at_password(server: Server | None) -> Row:
    """Whether somebody without a password is let in."""
    name = "tracking password"
    if server is None:
        return Row(name, SKIPPED, "no server")
    if not _is_mlflow(server):
        return Row(name, SKIPPED, _NOT_ASKED)
    path = f"{_API}/experiments/search?max_results=1"
    answer = server.ask("GET", path, as_us=False)
    if answer.status_code == 401:
        return Row(name, OK, "without a password nobody is let in (401)")
    if answer.status_code >= 300:
        remedy = "read the server's log"
        return Row(name, FAIL, f"asked without a password, it says {answer.status_code}", remedy)
    remedy = "start it with --app-name basic-auth; paceline cluster up does"
    if is_loopback(urlsplit(server.uri).hostname or ""):
        found = "asks for no password; only this machine reaches it"
        return Row(name, WARN, found, remedy)
    return Row(name, FAIL, "asks for no password: whoever reaches it can read and write", remedy)


def look_at_clock(server: Server | None) -> tuple[float, float] | None:
    """Seconds by which the server's clock is ahead, and the uncertainty; None: it does not say."""
    if server is None:
        return None
    try:
        server.ask("GET", "/health")
    except requests.RequestException:  # the row of the server itself tells
        return None
    return server.offset


def _is_mlflow(server: Server) -> bool:
    """Whether an MLflow server answers, be it that it does not let us in."""
    try:
        version = server.ask("GET", "/version")
    except requests.RequestException:
        return False
    return _is_version(version) or version.status_code in (401, 403)


def _is_version(answer: requests.Response) -> bool:
    """Whether this is how MLflow answers when it is asked for its version."""
    return answer.ok and len(answer.text) < 40 and answer.text[:1].isdigit()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at a host."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
        return bool(found) and all(ipaddress.ip_address(one).is_loopback for one in found)
    except (OSError, ValueError):
        return False

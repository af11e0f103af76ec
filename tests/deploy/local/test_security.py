"""Who has no token, a wrong one, or comes from a foreign page, at each service that `up` starts.

| service | no or wrong secret | foreign Host | foreign Origin |
|---|---|---|---|
| Ray's jobs and dashboard | 401, 403 | Ray never looks; the token decides | 405 for what changes |
| Ray's GCS, raylets, agents | UNAUTHENTICATED | gRPC has none | gRPC has none |
| MLflow | 401 | 403, with the password too | 403 for what changes |
| object store | 403 | 403, with a signature too | 403, with a signature too |
| PostgreSQL | refused | no port at all | no port at all |

A page that reaches Ray's dashboard under a foreign name (DNS rebinding) is one without a token: the
cookie of a signed-in browser belongs to the name under which it signed in, and is SameSite=Strict.
So the missing check of the Host cannot matter. What Ray answers without a token is its login page,
whether it is alive, and on ports of their own the counters for Prometheus.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from paceline.deploy.cluster_profile import Profile
from paceline.deploy.local.cluster import LocalCluster
from paceline.deploy.local.postgresql import socket_folder
from paceline.deploy.local.processes import of_cluster
from paceline.tests.deploy.conftest import Started

FOREIGN_HOST = {"Host": "attacker.example:5000"}
FOREIGN_ORIGIN = {"Origin": "http://attacker.example"}
JOB = json.dumps({"entrypoint": "touch /tmp/this-must-never-run"}).encode()


def ask(
    url: str, headers: dict[str, str] | None = None, body: bytes | None = None, method: str = ""
) -> int:
    """The status that a server answers; 0: it speaks no HTTP."""
    request = urllib.request.Request(
        url, data=body, headers=headers or {}, method=method or ("POST" if body else "GET")
    )
    if body is not None:
        request.add_header("Content-Type", "application/json")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return 0


@pytest.fixture(scope="module")
def profile(local_cluster: Started) -> Profile:
    return local_cluster.profile


@pytest.fixture(scope="module")
def cluster(local_cluster: Started) -> LocalCluster:
    return LocalCluster(**json.loads((local_cluster.home / "cluster" / "local.json").read_text()))


@pytest.fixture(scope="module")
def token(profile: Profile) -> dict[str, str]:
    return {"Authorization": f"Bearer {Path(profile.token_path).read_text().strip()}"}


@pytest.fixture(scope="module")
def account(profile: Profile) -> dict[str, str]:
    password = Path(profile.tracking_password_path).read_text().strip()
    return basic(profile.tracking_username, password)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


WRONG_TOKENS = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YWRtaW46YWRtaW4="}]


@pytest.mark.parametrize("wrong", WRONG_TOKENS)
@pytest.mark.parametrize("path", ["/api/version", "/api/jobs/", "/nodes?view=summary", "/logs"])
def test_dashboard_refuses_who_has_no_token(wrong: dict, path: str, profile: Profile):
    assert ask(profile.jobs_address + path, wrong) in (401, 403)
    assert ask(profile.jobs_address + path, {**wrong, **FOREIGN_HOST}) in (401, 403)
    assert ask(profile.jobs_address + path, {**wrong, **FOREIGN_ORIGIN}) in (401, 403)


@pytest.mark.parametrize("wrong", WRONG_TOKENS)
def test_jobs_of_who_has_no_token_are_refused(wrong: dict, profile: Profile):
    url = f"{profile.jobs_address}/api/jobs/"
    assert ask(url, wrong, JOB) in (401, 403)
    assert ask(url, {**wrong, **FOREIGN_HOST}, JOB) in (401, 403)


def test_a_foreign_page_cannot_submit_a_job_even_with_the_token(profile: Profile, token: dict):
    url = f"{profile.jobs_address}/api/jobs/"
    assert ask(url, token) == 200  # so what is refused below is not refused for its token
    for foreign in (
        FOREIGN_ORIGIN,
        {"Sec-Fetch-Site": "cross-site"},
        {"Referer": "http://x.example"},
    ):
        assert ask(url, {**token, **foreign}, JOB) == 405
        assert ask(url, {**token, **foreign}, method="DELETE") == 405


def test_the_cookie_of_a_browser_stays_with_the_page_that_signed_in(profile: Profile, token: dict):
    request = urllib.request.Request(
        f"{profile.jobs_address}/api/authenticate", headers=token, method="POST"
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        cookie = answer.headers["Set-Cookie"].lower()
    assert "samesite=strict" in cookie
    assert "httponly" in cookie


def test_what_the_dashboard_answers_without_a_token_tells_nothing(profile: Profile):
    with urllib.request.urlopen(profile.jobs_address, timeout=20) as answer:
        page = answer.read().decode()
    assert "<title>Ray Dashboard</title>" in page
    assert profile.address not in page


def test_every_http_port_of_the_cluster_asks_for_a_secret(cluster: LocalCluster):
    """The agents' too, which have ports that nobody chose; counters for Prometheus are open."""
    asked = 0
    for port in ports(cluster):
        for path in ("/api/job_agent/jobs/", "/api/version", "/get_or_create_runtime_env", "/logs"):
            url = f"http://127.0.0.1:{port}{path}"
            statuses = {ask(url), ask(url, body=b"{}")}
            if 200 in statuses:
                with urllib.request.urlopen(url, timeout=20) as answer:
                    assert answer.read().startswith(b"# HELP "), (port, path)
                continue
            assert statuses <= {0, 401, 403, 404, 405}, (port, path, statuses)
            asked += bool(statuses & {401, 403})
    assert asked >= 20


def ports(cluster: LocalCluster) -> Iterator[int]:
    """Where the cluster listens."""
    for process in of_cluster(cluster.id):
        try:
            found = process.net_connections("inet")
        except psutil.Error:
            continue
        yield from (c.laddr.port for c in found if c.status == psutil.CONN_LISTEN)


def test_nothing_listens_on_other_than_the_loopback(cluster: LocalCluster):
    outside, inside = [], 0
    for process in of_cluster(cluster.id):
        try:
            found = process.net_connections("inet")
        except psutil.Error:
            continue
        for connection in found:
            if connection.status != psutil.CONN_LISTEN:
                continue
            inside += 1
            if connection.laddr.ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
                outside.append((process.name(), connection.laddr))
    assert outside == []
    assert inside >= 10


GCS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
)
NODE = ("/ray.rpc.NodeManagerService/GetNodeStats", "/ray.rpc.ObjectManagerService/Pull")


def call(port: int, method: str, token: str | None) -> str:
    """The status of a call without content."""
    import grpc

    given = () if token is None else (("authorization", token),)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary(
            method, request_serializer=bytes, response_deserializer=lambda content: content
        )
        try:
            ask(b"", timeout=10, metadata=given)
        except grpc.RpcError as error:
            return error.code().name  # pyright: ignore[reportAttributeAccessIssue]
        return "OK"


@pytest.mark.parametrize("wrong", [None, "Bearer wrong", "wrong", ""])
def test_gcs_and_raylets_refuse_who_has_no_token(wrong: str | None, cluster: LocalCluster, token):
    right = token["Authorization"]
    for method in GCS:
        assert call(cluster.ports["gcs"], method, wrong) == "UNAUTHENTICATED"
        assert call(cluster.ports["gcs"], method, right) == "OK"
    answers = []
    for process in of_cluster(cluster.id):
        if process.name() != "raylet":
            continue
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:  # one has the node's service, one objects'
                answers.append({call(connection.laddr.port, method, wrong) for method in NODE})
    assert answers == [{"UNAUTHENTICATED", "UNIMPLEMENTED"}] * 6  # two ports for each node


@pytest.mark.parametrize(
    "given",
    [
        {"RAY_AUTH_TOKEN": "0" * 64},
        pytest.param({"RAY_AUTH_MODE": "disabled"}, marks=pytest.mark.slow),  # tries for 20 s too
    ],
)
def test_a_program_without_the_token_cannot_join(given: dict, local_cluster: Started):
    code = (
        "import ray; ray.init(log_to_driver=False); print(ray.get(ray.remote(lambda: 7).remote()))"
    )
    environment = {**os.environ, **local_cluster.environment, **given}
    if "RAY_AUTH_TOKEN" in given:
        del environment["RAY_AUTH_TOKEN_PATH"]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "RAY_gcs_rpc_server_reconnect_timeout_s": "5"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout.strip() != "7"


API = "/api/2.0/mlflow/experiments/search"
SEARCH = json.dumps({"max_results": 1}).encode()


@pytest.mark.parametrize("path", [API, "/ajax-api/2.0/mlflow/experiments/search"])
def test_mlflow_wants_account_password_host_and_origin(path: str, profile: Profile, account: dict):
    url = profile.tracking_uri + path
    assert ask(url, account, SEARCH) == 200
    assert ask(url, {}, SEARCH) == 401
    for user, password in (("admin", "admin"), ("admin", "password1234"), ("root", ""), ("", "")):
        assert ask(url, basic(user, password), SEARCH) == 401
    assert ask(url, {**account, **FOREIGN_HOST}, SEARCH) == 403
    assert ask(url, {**account, **FOREIGN_ORIGIN}, SEARCH) == 403
    assert ask(url, {**account, "Host": "127.0.0.1.attacker.example"}, SEARCH) == 403


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/2.0/mlflow-artifacts/artifacts",
        "/graphql",
        "/get-artifact?path=x&run_uuid=y",
        "/api/2.0/mlflow/users/list",
        "/signup",
    ],
)
def test_no_page_of_mlflow_is_open(path: str, profile: Profile):
    assert ask(profile.tracking_uri + path) in (401, 404, 405)
    assert ask(profile.tracking_uri + path, FOREIGN_HOST) == 403


def test_mlflow_neither_unpickles_nor_runs_jobs(cluster: LocalCluster):
    from paceline.deploy.manifests.parts import MLFLOW_SAFETY

    found = [process for process, part in of_cluster(cluster.id).items() if part == "mlflow"]
    assert found
    for process in found:
        environment = process.environ()
        assert {name: environment.get(name) for name in MLFLOW_SAFETY} == MLFLOW_SAFETY


def signed(profile: Profile, environment: dict[str, str], key: str | None = None) -> dict[str, str]:
    """The headers of a request for the list of buckets."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = environment["AWS_ENDPOINT_URL"] + "/"
    request = AWSRequest("GET", url)
    keys = Credentials(
        environment["AWS_ACCESS_KEY_ID"], key or environment["AWS_SECRET_ACCESS_KEY"]
    )
    S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}


def test_object_store_wants_a_signature_its_host_and_no_page(local_cluster: Started):
    environment = local_cluster.environment
    url = environment["AWS_ENDPOINT_URL"] + "/"
    right = signed(local_cluster.profile, environment)
    assert ask(url, right) == 200
    assert ask(url) == 403
    assert ask(url, signed(local_cluster.profile, environment, "x" * 40)) == 403
    assert ask(url, {**right, **FOREIGN_HOST}) == 403
    assert ask(url, {**right, **FOREIGN_ORIGIN}) == 403
    assert ask(url, body=b"x", method="PUT") == 403
    assert ask(f"{url}moto-api/reset", body=b"x") == 403  # its own door to everything


def test_postgresql_has_no_port_and_wants_the_password(cluster: LocalCluster):
    if not cluster.database:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    import psycopg

    for process, part in of_cluster(cluster.id).items():
        if part == "postgresql":
            assert process.net_connections("inet") == []
    place = {"host": str(socket_folder(cluster)), "dbname": "postgres", "user": "mlflow"}
    for password in ("", "postgres", "mlflow"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(**place, password=password)  # pyright: ignore[reportArgumentType]


def test_no_secret_is_in_an_argument_or_a_log(cluster: LocalCluster, local_cluster: Started):
    folder = local_cluster.home / "cluster"
    names = ("ray-token", "mlflow-password", "database-password", "form-key")
    secrets = [(folder / name).read_text().strip() for name in names]
    secrets += [local_cluster.environment["AWS_SECRET_ACCESS_KEY"]]
    for process in of_cluster(cluster.id):
        words = " ".join(process.cmdline())
        assert not any(secret in words for secret in secrets), words
    logs = [*folder.glob("*.log"), *Path(cluster.runtime).rglob("*.log")]
    logs += [*Path(cluster.runtime).rglob("*.out"), *Path(cluster.runtime).rglob("*.err")]
    assert len(logs) > 10
    told = [log for log in logs if any(s in log.read_text(errors="replace") for s in secrets)]
    assert told == []


def test_nobody_else_may_look_into_the_clusters_folders(
    cluster: LocalCluster, local_cluster: Started
):
    assert (local_cluster.home / "cluster").stat().st_mode & 0o077 == 0
    # What Ray makes inside is open to all: /tmp/ray on a machine that people share.
    assert Path(cluster.runtime).stat().st_mode & 0o077 == 0
    if cluster.database:
        assert Path(cluster.database).stat().st_mode & 0o077 == 0


def test_status_names_every_part_and_up_again_only_tells(local_cluster: Started):
    done = local_cluster.run("cluster", "status", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["state"] == "up"
    assert {part["name"] for part in told["parts"]} >= {"s3", "mlflow", "head", "worker-2"}
    again = local_cluster.run("cluster", "up")
    assert again.code == 0, again.err
    assert "The cluster is up already: a head and 2 worker nodes" in again.out
    assert local_cluster.profile.tracking_uri in again.out
    other = local_cluster.run("cluster", "up", "--nodes", 1)
    assert other.code == 2
    assert "`--nodes` must be >= 2, as these are up, but is 1." in other.err

"""Services of a compose file that call each other: at the port, the name, the account that are."""

from __future__ import annotations

from typing import Any

from ..manifests.parts import POSTGRES_PORT
from .findings import flags_of


def port_problems(services: dict[str, Any]) -> list[str]:
    """Who calls names the port at which the other listens."""
    mlflow, head, worker, s3 = (services[n] for n in ("mlflow", "ray-head", "ray-worker", "s3"))
    server, node = flags_of(mlflow["command"]), flags_of(head["command"])
    gcs = f"ray-head:{node.get('--port')}"
    s3_port = s3["environment"]["VGW_PORT"]
    pairs = [
        ("mlflow.ports", mlflow.get("ports"), [_published(server.get("--port"))]),
        ("mlflow.healthcheck", mlflow["healthcheck"]["test"][5:], [_health(server.get("--port"))]),
        ("ray-head.ports", head.get("ports"), [_published(node.get("--dashboard-port"))]),
        ("ray-head.hostname", head.get("hostname"), "ray-head"),
        ("ray-worker.command", flags_of(worker["command"]).get("--address"), gcs),
        ("s3.healthcheck", s3["healthcheck"]["test"][5:], [_health(s3_port.strip(":"))]),
        ("s3.command", s3["command"], ["posix", "/data"]),
    ]
    for one in (head, worker):
        asked = flags_of(one["healthcheck"]["test"]).get("--address")
        pairs.append(("ray healthcheck", asked, gcs))
    for name, service in services.items():
        environment = service.get("environment") or {}
        pairs += _address_pairs(name, environment, server.get("--port"), s3_port)
    database = _variable(services["postgres"], "POSTGRES_DB")
    uri = f"postgresql+psycopg://postgres:{POSTGRES_PORT}/{database}"
    pairs.append(("mlflow.backend", server.get("--backend-store-uri"), uri))
    account = _variable(services["postgres"], "POSTGRES_USER")
    pairs.append(("mlflow.PGUSER", _variable(mlflow, "PGUSER"), account))
    bucket = str(server.get("--artifacts-destination")).removeprefix("s3://").partition("/")[0]
    pairs.append(("bucket.command", services["bucket"]["command"][3:], [bucket]))
    cores = services["ray-worker"]["deploy"]["resources"]["limits"]["cpus"]
    pairs.append(("ray-worker.cpus", flags_of(worker["command"]).get("--num-cpus"), cores))
    pairs.append(("ray-head.cpus", node.get("--num-cpus"), "0"))
    pairs += [("--block", "--block" in flags_of(one["command"]), True) for one in (head, worker)]
    return [
        f"{at}: must be {right}, but is {given}" for at, given, right in pairs if given != right
    ]


def _variable(service: dict[str, Any], name: str) -> Any:
    """A variable of a service."""
    return (service.get("environment") or {}).get(name)


def _address_pairs(
    name: str, environment: dict[str, Any], mlflow_port: Any, s3_port: str
) -> list[tuple[str, Any, Any]]:
    """Addresses inside the file, where they name its own services."""
    ends = {"mlflow": f"http://mlflow:{mlflow_port}", "s3": f"http://s3{s3_port}"}
    return [
        (f"{name}.{variable}", value, ends[host])
        for variable, value in environment.items()
        for host in ends
        if str(value).startswith(f"http://{host}:") or str(value) == f"http://{host}"
    ]


def _published(port: Any) -> str:
    return f"127.0.0.1:{port}:{port}"


def _health(port: Any) -> str:
    return f"http://127.0.0.1:{port}/health"

"""What the checks share: a document's strings, commands parsed by who runs them, environments."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterator
from typing import Any

from ...platform.arguments import parse
from ...platform.errors import UserError
from ..manifests import environment
from ..rules import is_http, is_image, is_storage

SECRETS = {*environment.COMPOSE, *environment.KUBERNETES}
# Variables whose values are secret under another name than in the environment file.
RENAMED = {
    "MLFLOW_AUTH_ADMIN_USERNAME": "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "MLFLOW_TRACKING_PASSWORD",
    "ROOT_ACCESS_KEY": "AWS_ACCESS_KEY_ID",
    "ROOT_SECRET_KEY": "AWS_SECRET_ACCESS_KEY",
    "PGPASSWORD": "POSTGRES_PASSWORD",
}
# Variables that are no secret, and what they must match.
PLAIN = {
    "RAY_AUTH_MODE": "token",
    "RAY_TMPDIR": r"/[\w/.-]+",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_TRACKING_URI": is_http,
    "MLFLOW_S3_ENDPOINT_URL": is_http,
    "AWS_ENDPOINT_URL": is_http,
    "AWS_REGION": r"[a-z0-9-]{2,40}",
    "AWS_DEFAULT_REGION": r"[a-z0-9-]{2,40}",
    "MLFLOW_AUTH_CONFIG_PATH": r"/[\w/.-]+/?mlflow-auth\.ini",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "POSTGRES_USER": r"[a-z]+",
    "POSTGRES_DB": r"[a-z]+",
    "POSTGRES_INITDB_ARGS": "--auth=scram-sha-256",
    "PGUSER": r"[a-z]+",
    "VGW_PORT": r":\d+",
    "VGW_REGION": r"[a-z0-9-]{2,40}",
    "VGW_HEALTH": "/health",
}
MLFLOW_SAFE = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION",
    "MLFLOW_DISABLE_TELEMETRY",
    "MLFLOW_AUTH_CONFIG_PATH",
    "MLFLOW_AUTH_ADMIN_USERNAME",
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
}
NODE = {
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
}


def schema_errors(schema: dict[str, Any], document: Any, at: str = "") -> list[str]:
    """What a JSON schema finds wrong, as `path: message`."""
    from jsonschema.validators import validator_for

    kind = validator_for(schema)
    return [
        f"{'.'.join([at, *map(str, error.absolute_path)]).strip('.')}: {error.message[:200]}"
        for error in kind(schema).iter_errors(document)
    ]


def plain_variable(name: str, value: Any) -> list[str]:
    """What is wrong with a variable that is written out."""
    if name not in PLAIN and name in {*SECRETS, *RENAMED}:
        return [f"{name}: must come from a secret, but is written out"]
    if name not in PLAIN:
        return [f"{name}: must be a known variable"]
    rule = PLAIN[name]
    if not isinstance(value, str):
        return [f"{name}: must be a text in quotes, but is {value!r}"]
    holds = re.fullmatch(rule, value) if isinstance(rule, str) else rule(value)
    return [] if holds else [f"{name}: must not be {value!r}"]


def missing(wanted: set[str], given: Any, at: str) -> list[str]:
    """Names that should be there and are not."""
    return [f"{at}: `{name}` must be set" for name in sorted(wanted - set(given or ()))]


def image_problem(image: Any, at: str) -> list[str]:
    """An image that is not pinned."""
    held = isinstance(image, str) and is_image(image)
    return (
        [] if held else [f"{at}: must be an image with a tag other than latest, but is {image!r}"]
    )


@functools.cache
def _ray_commands() -> dict[str, Any]:
    from ray.scripts import scripts

    return {name: command for name, command in scripts.cli.commands.items()}


def _click_problem(command: Any, words: list[str], at: str) -> list[str]:
    """What click says of a command's words; nothing is run."""
    import click

    try:
        context = command.make_context(command.name, list(words), resilient_parsing=False)
    except click.ClickException as error:
        return [f"{at}: {error.format_message()}"]
    except click.exceptions.Exit:
        return [f"{at}: does nothing"]
    return [f"{at}: has surplus words {context.args}"] if context.args else []


def command_problems(words: Any, at: str) -> list[str]:
    """What the program that is called says of its flags: `ray`, `mlflow` or `paceline`."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return [f"{at}: must be a list of words"]
    program, *rest = words or [""]
    if program == "ray":
        return _ray_problems(rest, at)
    if program == "mlflow":
        return _mlflow_problems(rest, at)
    if program == "paceline":
        return _paceline_problems(rest, at)
    return [] if program in ("python", "true", "posix") else [f"{at}: cannot run {program!r}"]


def _ray_problems(words: list[str], at: str) -> list[str]:
    command = _ray_commands().get(words[0]) if words else None
    if command is None:
        return [f"{at}: ray has no such command"]
    found = _click_problem(command, words[1:], at)
    flags = flags_of(words)
    if words[0] == "start" and ("--head" in flags) == ("--address" in flags):
        found.append(f"{at}: must be either --head or --address")
    return found


def assigned(words: list[str]) -> dict[str, str]:
    """Words written as `name=value`, by name; a word without `=` has an empty value."""
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def flags_of(words: list[str]) -> dict[str, str]:
    """Flags written as `--name=value`."""
    return assigned([word for word in words if word.startswith("--")])


def _mlflow_problems(words: list[str], at: str) -> list[str]:
    with warnings.catch_warnings():  # MLflow's commands warn of MLflow's own types
        warnings.simplefilter("ignore")
        from mlflow.cli import server

    if words[:1] != ["server"]:
        return [f"{at}: must run mlflow server"]
    flags = flags_of(words)
    found = _click_problem(server, words[1:], at)
    needed = {"--port", "--backend-store-uri", "--artifacts-destination", "--allowed-hosts"}
    found += missing({*needed, "--cors-allowed-origins", "--x-frame-options"}, flags, at)
    if flags.get("--app-name") != "basic-auth":
        found.append(f"{at}: must ask for accounts: --app-name=basic-auth")
    if "*" in flags.get("--allowed-hosts", "") + flags.get("--cors-allowed-origins", ""):
        found.append(f"{at}: must not answer every host")
    if flags.get("--host") != "0.0.0.0":
        found.append(f"{at}: must be heard outside its container: --host=0.0.0.0")
    if "--disable-security-middleware" in flags:
        found.append(f"{at}: must check hosts")
    if "@" in flags.get("--backend-store-uri", ""):
        found.append(f"{at}: must hold no password")
    if not is_storage(flags.get("--artifacts-destination", "s3://any/where")):
        found.append(f"{at}: must keep artifacts in a bucket")
    ports = {host.rpartition(":")[2] for host in flags.get("--allowed-hosts", "").split(",")}
    ports |= {o.rpartition(":")[2] for o in flags.get("--cors-allowed-origins", "").split(",")}
    if ports != {flags.get("--port", "")}:
        found.append(f"{at}: hosts and origins must name the server's port")
    return found


def _paceline_problems(words: list[str], at: str) -> list[str]:
    try:
        arguments = parse(words)
    except UserError as error:
        return [f"{at}: {error.what}"]
    needed = {"launch.address", "launch.storage"}
    if arguments.verb.name in ("fit", "sweep"):
        needed.add("tracking.uri")
    found = missing(needed, arguments.changes, at)
    storage = arguments.changes.get("launch.storage", ("/any", ""))[0]
    uri = arguments.changes.get("tracking.uri", ("http://any", ""))[0]
    if not is_storage(str(storage)):
        found.append(f"{at}: storage must be an absolute folder or a bucket")
    return found if is_http(str(uri)) else [*found, f"{at}: tracking must be a server"]


def strings(document: Any) -> Iterator[str]:
    """Every text in a document, keys included."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield str(key)
            yield from strings(value)
    elif isinstance(document, list):
        for item in document:
            yield from strings(item)
    elif isinstance(document, str):
        yield document

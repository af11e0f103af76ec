"""What a cluster's manifests are rendered from: one small set of values, without any secret.

Defaults are overridden by a YAML file (`--values FILE`), that by flags (`--set KEY=VALUE`). Secrets
have no place here: manifests name the environment variables or the Kubernetes secret that hold
them, and a value that carries a password is refused.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..platform.errors import UserError, must, unknown
from . import versions
from .rules import RULES

SECRET_WORDS = re.compile(r"password|passwd|token|secret_?key|access_?key|credential", re.I)


@dataclass(frozen=True)
class ClusterValues:
    """The values. An empty string means: by the target.

    Args:
        name: Of the cluster; begins the names of all its parts.
        workers: Nodes beside the head.
        cpus: CPU cores of a worker.
        memory_gib: Memory of a worker in GiB.
        gpus: GPUs of a worker.
        head_cpus: CPU cores of the head; they serve the driver, no trial.
        head_memory_gib: Memory of the head in GiB.
        image: Container image of Ray's nodes and MLflow, with a tag.
        python_image: What that image is built on.
        postgres_image: Image of MLflow's database.
        s3_image: Image of the object store.
        command: What is run: the words after `paceline`.
        run_name: Name of that run or sweep, by which it is resumed.
        storage: Folder that all nodes share, or `s3://bucket/folder`.
        tracking_uri: MLflow's address as the nodes see it.
        s3_endpoint: Address of an object store other than Amazon's.
        region: Region of the object store and of a cloud's machines.
        namespace: Kubernetes namespace.
        secret: Name of the Kubernetes secret that holds what is secret.
        head_ip: Address of the head, on-premise.
        worker_ips: Addresses of the workers, on-premise, separated by commas.
        ssh_user: Account on the machines.
        ssh_key: Private key file for it, on this machine; by the cloud where empty.
        instance_type: Type of a cloud's machine.
        partition: Slurm partition.
        account: Slurm account.
        time_limit: Slurm's limit of the job.
        environment: Folder of the virtual environment on a Slurm cluster.
    """

    name: str = "paceline"
    workers: int = 2
    cpus: int = 4
    memory_gib: int = 16
    gpus: int = 0
    head_cpus: int = 2
    head_memory_gib: int = 8
    image: str = ""
    python_image: str = f"python:{versions.PYTHON}-slim-bookworm"
    postgres_image: str = "postgres:17.6-bookworm"
    s3_image: str = "ghcr.io/versity/versitygw:v1.8.0"
    command: str = "sweep mlp --trials 32"
    run_name: str = ""
    storage: str = ""
    tracking_uri: str = ""
    s3_endpoint: str = ""
    region: str = "us-east-1"
    namespace: str = "paceline"
    secret: str = "paceline"
    head_ip: str = ""
    worker_ips: str = ""
    ssh_user: str = "ubuntu"
    ssh_key: str = ""
    instance_type: str = "m7i.xlarge"
    partition: str = ""
    account: str = ""
    time_limit: str = "24:00:00"
    environment: str = ".venv"


NAMES = tuple(field.name for field in dataclasses.fields(ClusterValues))


def read_values(
    file: str | None, settings: list[str], defaults: dict[str, str] | None = None
) -> ClusterValues:
    """The values of a file and of `KEY=VALUE` settings, checked.

    Args:
        file: A YAML mapping of names to values.
        settings: As given behind `--set`; the last one of a name counts.
        defaults: What the target takes where nothing is given.

    Raises:
        UserError: An unknown name, a value that breaks its rule, one that holds a secret, or a
            file that is no YAML mapping.
    """
    given: dict[str, tuple[Any, str]] = {}
    if file is not None:
        given |= {str(key): (value, file) for key, value in _read_file(file).items()}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(must("--set", "KEY=VALUE", setting))
        given[key.strip()] = (text.strip(), f"--set {key.strip()}")
    checked = {key: _check(key, value, where) for key, (value, where) in given.items()}
    built_in = {"image": f"paceline:{versions.paceline()}", **(defaults or {})}
    return ClusterValues(**{**built_in, **{k: v for k, v in checked.items() if v != ""}})


def _read_file(file: str) -> dict[Any, Any]:
    try:
        text = Path(file).read_text()
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(must("--values", "a file that can be read", file), str(error)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else file
        problem = getattr(error, "problem", None) or "it does not parse"
        raise UserError(must("--values", "YAML", problem), where) from None
    if values is not None and not isinstance(values, dict):
        raise UserError(must("--values", "a mapping of names to values", values), file)
    if not values:
        return {}
    # YAML would make a number of 24:00:00, and false of no; what is written is meant.
    written = yaml.load(text, Loader=yaml.BaseLoader)
    return {
        key: value if value is None or isinstance(value, dict | list) else written.get(key, value)
        for key, value in values.items()
    }


def _check(key: str, value: Any, where: str) -> Any:
    if key not in NAMES:
        if SECRET_WORDS.search(key):  # what it is set to must not be repeated
            remedy = "fill it into the rendered paceline.env, which stays with you"
            raise UserError(f"`{key}` must not be a value, as it is secret.", where, remedy)
        raise unknown("value", key, NAMES, where)
    kind = type(ClusterValues.__dataclass_fields__[key].default)
    if kind is int:
        value = _integer(key, value, where)
    elif isinstance(value, bool | dict | list) or value is None:
        raise UserError(must(key, "a text", value), where)
    else:
        value = str(value)
        if re.search(r"://[^/\s]*@", value):
            remedy = "leave user and password out; they are read from the environment"
            raise UserError(f"`{key}` must hold no password, but does.", where, remedy)
    rule = RULES[key]
    if value != "" and not rule.holds(value):
        raise UserError(must(key, rule.text, value), where, rule.remedy)
    return value


def _integer(key: str, value: Any, where: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value):
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(must(key, RULES[key].text, value), where)
    return value

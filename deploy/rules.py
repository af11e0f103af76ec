"""What each value must be, as a sentence and a function, so that no manifest breaks of a value.

Texts are held to the characters that their kind needs. That keeps quotes, blanks and `$` out of
the manifests, which shells, Slurm and compose would read as something else.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..platform.arguments import parse
from ..platform.errors import UserError

VERBS = ("fit", "sweep", "resume", "extend")
_LABEL = r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?"
_PATH = r"/?[A-Za-z0-9._~+@-][A-Za-z0-9._~+@/-]*"


@dataclass(frozen=True)
class Rule:
    """A value's rule.

    Args:
        text: Completes "must be".
        holds: Whether a value keeps it.
        remedy: What to do, where the rule does not say it.
    """

    text: str
    holds: Callable[[Any], bool]
    remedy: str = ""


def _matches(text: str, pattern: str, remedy: str = "") -> Rule:
    return Rule(text, lambda value: re.fullmatch(pattern, value) is not None, remedy)


def _at_least(least: int, most: int) -> Rule:
    return Rule(f"an integer from {least} to {most}", lambda value: least <= value <= most)


def is_image(value: str) -> bool:
    """Whether an image has a tag other than `latest`, or a digest."""
    name, _, digest = value.partition("@")
    repository, colon, tag = name.rpartition(":")
    has_tag = bool(colon) and "/" not in tag
    if not re.fullmatch(r"[a-z0-9][a-z0-9._/:-]*", repository if has_tag else name):
        return False
    if digest:
        return re.fullmatch(r"sha256:[0-9a-f]{64}", digest) is not None
    return has_tag and tag != "latest" and re.fullmatch(r"\w[\w.-]{0,127}", tag) is not None


def is_host(value: str) -> bool:
    """Whether a text is an address or a host's name."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        labels = value.split(".")
        looks_numeric = all(label.isdigit() for label in labels)
        return not looks_numeric and all(
            re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label)
            for label in labels
        )
    return True


def is_http(value: str) -> bool:
    """Whether a text is the address of an HTTP server."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    plain = re.fullmatch(r"[A-Za-z0-9.:/_\[\]-]+", value) is not None
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def is_storage(value: str) -> bool:
    """Whether a text is an absolute folder or a place in a bucket."""
    if value.startswith("s3://"):
        return re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[\w.~+/-]+", value) is not None
    return value.startswith("/") and re.fullmatch(_PATH, value) is not None


def is_command(value: str) -> bool:
    """Whether a text is a command line of ours that a cluster can run."""
    try:
        words = shlex.split(value)
        if not words or words[0] not in VERBS or re.search(r"[$`\n\r%{}]", value):
            return False
        return not parse(words).flag("help")
    except (UserError, ValueError):
        return False


_IMAGE = Rule("an image with a tag other than `latest`", is_image)
_HTTP = Rule("an address http://host:port", is_http)
_SLURM_NAME = _matches("letters, digits, '.', '_', ',' and '-'", r"[\w.,-]{1,100}")
_NAME = _matches("at most 40 lower-case letters, digits and '-', beginning with a letter", _LABEL)
RULES = {
    "name": _NAME,
    "workers": _at_least(1, 10_000),
    "cpus": _at_least(1, 1_024),
    "memory_gib": _at_least(1, 65_536),
    "gpus": _at_least(0, 64),
    "head_cpus": _at_least(1, 1_024),
    "head_memory_gib": _at_least(2, 65_536),
    "image": _IMAGE,
    "python_image": _IMAGE,
    "postgres_image": _IMAGE,
    "s3_image": _IMAGE,
    "command": Rule(
        f"a command line that begins with {', '.join(VERBS)}, without '$', '%' and braces",
        is_command,
        "try its words behind `paceline` first",
    ),
    "run_name": _matches("letters, digits, '.', '_' and '-'", r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"),
    "storage": Rule("an absolute folder or s3://bucket/folder", is_storage),
    "tracking_uri": _HTTP,
    "s3_endpoint": _HTTP,
    "region": _matches("a region's name, as us-east-1", r"[a-z0-9-]{2,40}"),
    "namespace": _NAME,
    "secret": _NAME,
    "head_ip": Rule("an address or a host's name", is_host),
    "worker_ips": Rule(
        "addresses or host names, separated by commas",
        lambda value: all(is_host(one.strip()) for one in value.split(",")),
    ),
    "ssh_user": _matches("an account's name other than root", r"(?!root$)[a-z_][a-z0-9_-]{0,31}"),
    "ssh_key": _matches("a file", _PATH),
    "instance_type": _matches("a type of machine, as m7i.2xlarge", r"[a-z0-9-]+\.[a-z0-9-]+"),
    "partition": _SLURM_NAME,
    "account": _SLURM_NAME,
    "time_limit": _matches("[DAYS-]HH:MM:SS", r"(?:\d{1,3}-)?\d{1,3}:[0-5]\d:[0-5]\d"),
    "environment": _matches("a folder", _PATH),
}

"""Passwords and tokens kept out of what is written down: tags, params, files, spools, messages.

Two things are secret: the password inside a URI, wherever a text carries one, and what the
environment holds for MLflow's client and for object stores.
"""

from __future__ import annotations

import os
import re
from typing import Any, TypeVar

_SECRET_VARIABLES = (
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
# A shorter one would be found inside of ordinary words; it protects nothing anyway.
_MIN_SECRET_CHARS = 4
_IN_USER_INFO = re.compile(r"(://[^/:@\s'\"]*):[^/@\s'\"]*@")
_IN_QUERY = re.compile(r"([?&](?:password|token|secret)=)[^&\s'\"]+", re.IGNORECASE)
MASK = "***"
T = TypeVar("T")


def redact(text: str) -> str:
    """The text with its secrets masked.

    Args:
        text: Any text: a URI, a command line, a YAML file, a traceback.
    """
    text = _IN_USER_INFO.sub(rf"\1:{MASK}@", text)
    text = _IN_QUERY.sub(rf"\1{MASK}", text)
    for secret in filter(None, map(os.environ.get, _SECRET_VARIABLES)):
        if len(secret) >= _MIN_SECRET_CHARS:
            text = text.replace(secret, MASK)
    return text


def redact_all(value: T) -> T:
    """A JSON-like value with every text in it redacted, keys left as they are."""
    redacted: Any = value
    if isinstance(value, str):
        redacted = redact(value)
    elif isinstance(value, dict):
        redacted = {key: redact_all(inner) for key, inner in value.items()}
    elif isinstance(value, (list, tuple)):
        redacted = [redact_all(inner) for inner in value]
    return redacted

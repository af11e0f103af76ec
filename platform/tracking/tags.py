"""What a run's tags say: the user's own, who ran it, and how it failed."""

from __future__ import annotations

import getpass
import traceback
from collections.abc import Mapping
from typing import Any

from ..errors import UserError, must
from .client import MAX_NAME_CHARS, MAX_TAG_CHARS, cut, entity_name


def checked_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as MLflow takes them: text of at most 8,000 characters.

    Raises:
        UserError: A name is not allowed; it is told instead of mended, because the user chose it.
    """
    for name in tags:
        if entity_name(name) != name:
            rule = f"at most {MAX_NAME_CHARS} letters, digits, spaces or _ - . : /"
            raise UserError(must("tracking.tags", f"named with {rule}", name), "tracking.tags")
    return {name: cut(str(value), MAX_TAG_CHARS) for name, value in tags.items()}


def describe_error(error: BaseException | str | None) -> tuple[str, str]:
    """An error as one line of at most 500 characters and as the whole text with its traceback."""
    if error is None:
        return "", ""
    if isinstance(error, BaseException):
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        return cut(line, 500), "".join(traceback.format_exception(error))
    lines = error.strip().splitlines() or ["unknown"]
    # The last line of a traceback's text names the exception.
    return cut(lines[-1].strip(), 500), error


def user_name() -> str:
    """Who runs this, for MLflow's column "User"."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return "unknown"

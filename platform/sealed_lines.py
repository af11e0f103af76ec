"""Files of JSON lines that tell when somebody changed them: each line seals the ones before.

A line's seal is a checksum over its text and the seal before, so a line that was changed, left out
or put in is found. Only a last line without its end may be torn, by a crash in the middle of a
write. It is no signature: whoever may write the file may also seal it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class ChangedLine(ValueError):
    """A line, or the one before it, is not what was written.

    Args:
        path: The file.
        number: Number of the line, from 1.
    """

    def __init__(self, path: Path, number: int):
        super().__init__(f"line {number} of {path} or the one before was changed")
        self.path, self.number = path, number


def seal_line(record: Mapping[str, Any], previous: str) -> tuple[bytes, str]:
    """A record as one line with its seal.

    Args:
        record: JSON values; what JSON does not know is written by `str`.
        previous: The seal of the line before; empty for the first.

    Returns:
        The line, and its seal.
    """
    text = json.dumps(record, default=str)
    seal = _checksum(text, previous)
    return f'{text[:-1]}, "sum": "{seal}"}}\n'.encode(), seal


def open_line(line: bytes, previous: str) -> dict[str, Any] | None:
    """A line's record, its seal under `sum`; None when it is not what was written."""
    text, mark, seal = line.decode(errors="replace").rstrip("\n").rpartition(', "sum": "')
    try:
        record = json.loads(f"{text}}}")
    except ValueError:
        return None
    if not mark or seal.removesuffix('"}') != _checksum(f"{text}}}", previous):
        return None
    return {**record, "sum": seal.removesuffix('"}')}


def open_lines(path: Path) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Each record of a file, where its line begins and where it ends, in bytes.

    Raises:
        ChangedLine: A line does not match its seal; a torn last one is left out instead.
    """
    previous, begin = "", 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            record = open_line(line, previous)
            if record is None:
                raise ChangedLine(path, number)
            end = begin + len(line)
            yield record, begin, end
            previous, begin = record["sum"], end


def _checksum(text: str, previous: str) -> str:
    return hashlib.blake2b((previous + text).encode(), digest_size=8).hexdigest()

"""What is examined: this machine alone, or every node of a cluster.

A question is a function that runs on each node, in a worker that reserves nothing. Each question
has a limit of time, and a node that is silent at the first is not asked again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...platform.errors import PacelineError


@dataclass
class Answers:
    """What nodes answered to one question.

    Args:
        by_node: Node -> its answer.
        silent: Node -> why it has none: an exception, or no answer in time.
    """

    by_node: dict[str, Any] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


class ThisMachine:
    """One machine, without Ray.

    Args:
        name: What it is called.
    """

    is_cluster = False

    def __init__(self, name: str = "this machine"):
        self.name = name
        self.nodes = [name]
        self.resources: dict[str, dict[str, float]] = {}  # Ray promises nothing

    def address(self, node: str) -> str:
        """Where others reach it; nobody asks."""
        return "127.0.0.1"

    def ask(self, function: Callable[..., Any], *arguments: Any, timeout_s: float) -> Answers:
        """Ask it here, in a thread that is left alone when it takes too long."""
        answer, error = within(timeout_s, function, *arguments)
        if error:
            return Answers(silent={self.name: error})
        return Answers({self.name: answer})


def within(
    timeout_s: float, function: Callable[..., Any], *arguments: Any
) -> tuple[Any, str | None]:
    """Call a function, for so many seconds at most.

    Returns:
        Its answer and None, or None and why there is none, in a sentence.
    """
    box: list[Any] = []

    def call() -> None:
        try:
            box.append((function(*arguments), None))
        except Exception as error:  # whatever it meets is what is to be told
            box.append((None, told(error)))

    thread = threading.Thread(target=call, name="paceline-doctor", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return box[0] if box else (None, f"no answer in {timeout_s:g} s")


def told(error: BaseException) -> str:
    """An exception in one line."""
    if isinstance(error, PacelineError):
        return f"{error.what} ({error.where})" if error.where else error.what
    line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {line}".removesuffix(": ")


class Deadline:
    """So many seconds, shared by what is done one after another.

    Args:
        seconds: How many.
    """

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until it; never less than a tenth."""
        return max(0.1, self._end - time.monotonic())

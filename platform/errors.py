"""A user's mistake is one message: what must hold, where it was written, what to do."""

from __future__ import annotations

import contextlib
import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path

TRACEBACK = "traceback.txt"  # in a run's folder: what its code raised


class PacelineError(Exception):
    """An error that is told in one message, never as a traceback.

    Args:
        what: The rule and what was given, one sentence.
        where: `file:line`, the flag or the name that it came from.
        remedy: What to do now: the valid names, or the command that helps.
    """

    exit_code = 1

    def __init__(self, what: str, where: str = "", remedy: str = ""):
        super().__init__(what)
        self.what, self.where, self.remedy = what, where, remedy

    def __reduce__(self):
        """Survive the trip between processes, which rebuild an exception from its arguments."""
        return type(self), (self.what, self.where, self.remedy)

    def __str__(self) -> str:
        """Render the three parts, a line each, leaving out what is empty."""
        lines = [self.what]
        if self.where:
            lines.append(f"  at: {self.where}")
        if self.remedy:
            lines.append(f"  try: {self.remedy}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str]:
        """The `error` object of `--json`."""
        return {"what": self.what, "where": self.where, "remedy": self.remedy}


class UserError(PacelineError):
    """The input is wrong; nothing was started. Exit code 2."""

    exit_code = 2


class RunError(PacelineError):
    """The run itself failed after it had started. Exit code 1."""

    exit_code = 1


def must(name: str, rule: str, value: object) -> str:
    """The one grammar of our messages: "`name` must be RULE, but is VALUE."."""
    return f"`{name}` must be {rule}, but is {value!r}."


def nearest(name: str, valid: Iterable[str], count: int = 3) -> list[str]:
    """The valid names that look most like `name`, best first; case is ignored."""
    by_lower = {v.lower(): v for v in valid}
    close = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    prefixed = [v for v in by_lower if v.endswith(f":{name.lower()}")]  # two packages have it
    return [by_lower[c] for c in dict.fromkeys([*prefixed, *close])]


def unknown(kind: str, name: str, valid: Iterable[str], where: str = "") -> UserError:
    """An unknown name, with the nearest valid ones (or all of them when they are few)."""
    valid = sorted(valid)
    close = nearest(name, valid)
    lead = "did you mean: " if close else "valid names are: " if valid else "there are none"
    more = f" and {len(valid) - 12} more" if len(valid) > 12 and not close else ""
    remedy = lead + ", ".join(close or valid[:12]) + more
    return UserError(f"`{kind}` must be a known name, but is {name!r}.", where, remedy)


def failed(error: Exception, folder: Path | None = None) -> PacelineError:
    """One message for what a run's own code raised; the traceback goes to a file in the folder."""
    if isinstance(error, PacelineError):
        return error
    remedy = [*getattr(error, "__notes__", [])]
    if folder is not None:
        log = folder / TRACEBACK
        with contextlib.suppress(OSError):  # the disk may be what is full
            log.write_text("".join(traceback.format_exception(error)))
            remedy.append(f"read {log}")
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    first = str(error).strip().partition("\n")[0]
    return RunError(f"The run failed: {type(error).__name__}: {first}", where, "\n".join(remedy))

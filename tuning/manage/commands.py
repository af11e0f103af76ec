"""The verbs that look at sweeps and tidy them, each thin over the module of its name.

A module is imported by the verb that needs it: `paceline status` must not wait for the others.
"""

from __future__ import annotations

import sys
from typing import Any

from ...platform.arguments import Arguments
from ...platform.home import runs_folder

Answer = tuple[Any, str | None, int]


def status_command(arguments: Arguments) -> Answer:
    """`paceline status [NAME]`: all runs and sweeps, or one with its living trials."""
    from .status import statuses
    from .status_text import detail, overview

    storage, name = _storage(arguments), arguments.positional["NAME"]
    found = statuses(storage, name)
    folder = str(runs_folder(storage))
    answer = {"runs": [one.as_dict() for one in found], "storage": folder}
    if not found:
        return answer, f"There is no run in {folder} yet.", 0
    return answer, overview(found) if name is None else detail(found[0]), 0


def stop_command(arguments: Arguments) -> Answer:
    """`paceline stop NAME`: what `show` answers, once it has ended."""
    from .stop import stop

    name, storage = str(arguments.positional["NAME"]), _storage(arguments)
    stop(name, storage, timeout_s=arguments.options.get("timeout", 60.0), tell=_tell)
    from ..show import show

    answer, text = show(name, storage)
    return answer, text, 0


def logs_command(arguments: Arguments) -> Answer:
    """`paceline logs NAME [TRIAL]`: the last lines; with `--follow` also those to come."""
    from .logs import find_log, follow, tail

    name, trial = str(arguments.positional["NAME"]), arguments.positional["TRIAL"]
    log, follows = find_log(name, trial, _storage(arguments)), arguments.flag("follow")
    lines, position = tail(log.path, arguments.options.get("lines", 100), whole=follows)
    answer = {"name": name, "trial_id": log.trial_id, "file": str(log.path), "lines": lines}
    if not follows:
        return answer, "\n".join(lines), 0
    code = 0
    try:
        _write(lines)
        for more in follow(log, position):
            _write(more)
            if arguments.flag("json"):
                lines += more
    except KeyboardInterrupt:
        code = 130
    return answer, None, code


def why_command(arguments: Arguments) -> Answer:
    """`paceline why NAME TRIAL`."""
    from .why import why

    name, trial = str(arguments.positional["NAME"]), str(arguments.positional["TRIAL"])
    answer, text = why(name, trial, _storage(arguments))
    return answer, text, 0


def compare_command(arguments: Arguments) -> Answer:
    """`paceline compare NAME OTHER [OTHER...]`."""
    from .compare import compare
    from .compare_text import side_by_side

    first, second = arguments.positional["NAME"], arguments.positional["OTHER"]
    found = compare([str(first), str(second), *arguments.more], _storage(arguments))
    return found.as_dict(), side_by_side(found), 0


def clean_command(arguments: Arguments) -> Answer:
    """`paceline clean [NAME]`: 1 where a damaged sweep was left as it is."""
    from .clean import clean
    from .clean_text import told

    storage, dry_run = _storage(arguments), arguments.flag("dry_run")
    keep = arguments.options.get("keep", 3)
    found = clean(arguments.positional["NAME"], storage, keep=keep, dry_run=dry_run)
    answer = {
        "sweeps": [one.as_dict() for one in found],
        "bytes": sum(one.bytes for one in found),
        "dry_run": dry_run,
        "storage": str(runs_folder(storage)),
    }
    return answer, told(found, dry_run=dry_run), int(any(one.refused for one in found))


def _storage(arguments: Arguments) -> str | None:
    return arguments.changes.get("launch.storage", (None, ""))[0]


def _write(lines: list[str]) -> None:
    """Lines that must be seen before the command answers; beside the one object of `--json`."""
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()

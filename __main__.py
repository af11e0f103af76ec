"""The `paceline` command: names each verb and imports its wing only when it is called.

Exit codes: 0 ok, 1 the run failed, 2 the input is wrong, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import math
import os
import sys
import threading
import traceback
from typing import Any, TextIO

from .platform.arguments import parse
from .platform.errors import PacelineError
from .platform.signals import Interrupted
from .platform.verbs import help_text

# verb -> module with a function of that name, which takes the parsed arguments and returns an
# object for `--json` and a text for a person. `show` finds sweeps too, so it lives upstairs.
_HOME_OF = {
    "list": ".platform.commands.catalog_commands",
    "completion": ".platform.commands.catalog_commands",
    "data": ".platform.commands.data_command",
    "fit": ".platform.commands.run_commands",
    "validate": ".platform.commands.run_commands",
    "test": ".platform.commands.run_commands",
    "predict": ".platform.commands.run_commands",
    "sample": ".platform.commands.run_commands",
    "inspect": ".platform.commands.inspect_command",
    "check": ".platform.commands.check_command",
    "bench": ".platform.commands.bench_command",
    "sync": ".platform.commands.sync_command",
    "ui": ".platform.commands.ui_command",
    "sweep": ".tuning.commands",
    "plan": ".tuning.forecast.command",
    "resume": ".tuning.commands",
    "extend": ".tuning.commands",
    "reconcile": ".tuning.commands",
    "show": ".tuning.commands",
    "status": ".tuning.manage.commands",
    "stop": ".tuning.manage.commands",
    "logs": ".tuning.manage.commands",
    "why": ".tuning.manage.commands",
    "compare": ".tuning.manage.commands",
    "clean": ".tuning.manage.commands",
    "promote": ".tuning.promote.commands",
    "serve": ".deploy.serving.commands",
    "cluster": ".deploy.commands",
    "submit": ".deploy.jobs.commands",
    "cancel": ".deploy.jobs.commands",
    "doctor": ".deploy.doctor.command",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if argv[0] == "--version":
        print(importlib.import_module("paceline").__version__)
        return 0
    if argv[0] == "complete":
        print(
            "\n".join(
                importlib.import_module("paceline.platform.commands.completion").complete(argv[1:])
            )
        )
        return 0
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a config names classes of the folder that one works in
    if "--json" not in argv:
        return _run(argv, sys.stdout, as_json=False)
    with os.fdopen(os.dup(1), "w") as out:  # standard output for the one object, all else beside it
        sys.stdout.flush()
        os.dup2(2, 1)
        try:
            return _run(argv, out, as_json=True)
        finally:
            sys.stdout.flush()  # what was printed in between must not come out after the object
            out.flush()
            os.dup2(out.fileno(), 1)


def _run(argv: list[str], out: TextIO, *, as_json: bool) -> int:
    try:
        arguments = parse(argv)
        if arguments.flag("help"):
            print(help_text(arguments.verb), file=out)
            return 0
        verb = arguments.verb.name
        module = importlib.import_module(f"paceline{_HOME_OF[verb]}")
        result, text, code = getattr(module, f"{verb}_command")(arguments)
        _print(result if as_json else text, out)
        return code
    except PacelineError as error:
        if as_json:
            _print({"error": error.as_dict()}, out)
        print(f"paceline: {error}", file=sys.stderr)
        return error.exit_code
    except Interrupted as interruption:
        return interruption.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:  # a slip of ours: its traceback is what we need to mend it
        traceback.print_exc()
        if as_json:
            what = f"Paceline must not fail like this, but raised {type(error).__name__}: {error}"
            _print({"error": {"what": what, "where": "", "remedy": "report it"}}, out)
        return 1


def _print(result: Any, out: TextIO) -> None:
    if result is not None:
        text = result if isinstance(result, str) else json.dumps(_finite(result), default=str)
        print(text, file=out, flush=True)


def _finite(value: Any) -> Any:
    """The value with null in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def command() -> None:
    """The process of the command `paceline`: run its line, and leave at once.

    At its end Python would take torch, Ray and MLflow apart object by object, for two seconds. What
    it does before that is done here: threads are waited for, exit handlers called, streams flushed.
    """
    code = main()
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):  # whoever read them may have gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    command()

"""The verbs over single runs: thin over `runs` and `evaluation`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import Any

from ..arguments import Arguments
from ..configuration.config import Config, load
from ..errors import UserError
from ..home import names
from ..progress import console
from ..result import RunResult, next_verb
from ..signals import Interrupted

Answer = tuple[Any, str | None, int]


def fit_command(arguments: Arguments) -> Answer:
    """`paceline fit RECIPE`, once or with several seeds."""
    config = config_of(arguments)
    if arguments.flag("print_config"):
        return config.resolved, config.text(), 0
    from ..joining import is_joining
    from ..runs import fit_config

    if is_joining():  # rank 0 answers for all
        fit_config(config)
        return None, None, 0
    name, seeds = arguments.options.get("name"), arguments.options.get("seeds")
    if seeds:
        from ..repeat import fit_seeds

        return answer_run(
            arguments, lambda: fit_seeds(config, seeds, name=name, command=command_line()), "show"
        )
    return answer_run(
        arguments, lambda: fit_config(config, name=name, command=command_line()), "test"
    )


def validate_command(arguments: Arguments) -> Answer:
    """`paceline validate NAME`."""
    return _evaluate(arguments, "validate")


def test_command(arguments: Arguments) -> Answer:
    """`paceline test NAME`."""
    return _evaluate(arguments, "test")


def predict_command(arguments: Arguments) -> Answer:
    """`paceline predict NAME [IMAGE...]`: the test set's predictions as CSV, or what pictures show.

    Raises:
        UserError: `--invert` without a picture.
    """
    first, invert = arguments.positional["IMAGE"], arguments.flag("invert")
    if first is not None:
        return _predict_pictures(arguments, [first, *arguments.more], invert)
    if invert:
        raise UserError("`--invert` must be left out where no picture is given, but is given.")
    from ..evaluation import predict

    return answer_run(
        arguments, lambda: predict(_target(arguments), **_evaluation_options(arguments)), "show"
    )


def sample_command(arguments: Arguments) -> Answer:
    """`paceline sample NAME`: what a trained module makes."""
    from ..examining.sampling import draw_samples, told

    options = _evaluation_options(arguments)
    answer, text, code = answer_run(
        arguments, lambda: draw_samples(_target(arguments), arguments.handed_on, **options), "show"
    )
    return answer, "\n\n".join([told(answer.get("samples", {})), str(text)]), code


def _predict_pictures(arguments: Arguments, files: list[str], invert: bool) -> Answer:
    from ..examining.picture_prediction import predict_pictures, told

    options = {**_evaluation_options(arguments), "invert": invert}
    answer, text, code = answer_run(
        arguments, lambda: predict_pictures(_target(arguments), files, **options), "test"
    )
    return answer, "\n\n".join([*map(told, answer.get("pictures", [])), str(text)]), code


def config_of(arguments: Arguments) -> Config:
    """The config that a command line asks for, its notes told."""
    files = tuple(arguments.options.get("config", ()))
    config = load(str(arguments.positional["RECIPE"]), arguments.changes, files)
    for note in config.notes:
        console().print(f"note: {note}", soft_wrap=True)
    return config


def command_line() -> str:
    """The command as it was typed, for a run's note."""
    return shlex.join(["paceline", *sys.argv[1:]])


def _evaluate(arguments: Arguments, stage: str) -> Answer:
    from ..evaluation import evaluate

    options = _evaluation_options(arguments)
    return answer_run(arguments, lambda: evaluate(_target(arguments), stage, **options), "show")


def _target(arguments: Arguments) -> str:
    return str(arguments.positional["NAME"])


def _evaluation_options(arguments: Arguments) -> dict[str, Any]:
    return {
        "changes": arguments.changes,
        "files": tuple(arguments.options.get("config", ())),
        "name": arguments.options.get("name"),
    }


def answer_run(arguments: Arguments, run: Callable[[], RunResult], then: str) -> Answer:
    """What a verb over a single run answers, interrupted or not."""
    from ..joining import is_joining

    if is_joining():  # rank 0 answers for all
        run()
        return None, None, 0
    try:
        result, code = run(), 0
    except Interrupted as interruption:
        result, code = getattr(interruption, "result", None), interruption.exit_code
        if result is None:  # nothing had been started
            raise
    storage = arguments.changes.get("launch.storage", (None, ""))[0]
    go_on = "paceline ui"
    if result.name in names(storage):
        elsewhere = ["--storage", str(storage)] if storage else []
        verb = next_verb(result.status) if then == "test" else then
        go_on = shlex.join(["paceline", verb, result.name, *elsewhere])
    return result.as_dict(), result.text(go_on), code

"""`paceline sample NAME`: what a trained module makes of nothing: text, pictures, translations.

A module that can has a method `sample(*, seed=0, ...)` that returns name -> text or figure. Its
options are its own keyword arguments, given as flags: `--temperature 0.8`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from pytorch_lightning import LightningModule

from ..errors import UserError, must, unknown
from ..evaluation import Changes, find_trained, finished, prepare_alone
from ..home import run_folder
from ..result import RunResult
from ..signals import interruptible
from ..training.building import refused
from ..training.fitting import load_weights
from ..training.trainer_context import flushed_denormals


def draw_samples(
    target: str,
    options: Mapping[str, str],
    *,
    changes: Changes | None = None,
    files: tuple[str, ...] = (),
    name: str | None = None,
) -> RunResult:
    """Let a trained module make something, print what is text and write what is a picture.

    Args:
        target: As in `evaluation.evaluate`.
        options: The module's own options, as they were typed.
        changes: As in `evaluation.evaluate`.
        files: As in `evaluation.evaluate`.
        name: As in `evaluation.evaluate`.

    Returns:
        The result; `extra` has `samples`, name -> the text or the picture's path.

    Raises:
        UserError: The module makes nothing, or an option is unknown or wrong.
    """
    started = time.monotonic()
    config, checkpoint, result = find_trained(target, changes or {}, files, name)
    with interruptible():
        built = prepare_alone(config, checkpoint)
        arguments = sample_arguments(built.model, options, config.where("model"))
        load_weights(built.model, checkpoint or None)
        with torch.no_grad(), flushed_denormals():
            try:
                made = built.model.eval().sample(**arguments)  # pyright: ignore[reportCallIssue]
            except Exception as error:  # whatever the module raises
                raise refused(error, _flag_of(error, arguments)) from error
        folder = run_folder(result.name, config.launch.storage)
        folder = folder if folder.is_dir() else Path.cwd()
        result.extra = {"samples": _kept(made, folder, result.name)}
    return finished(result, None, started)


def sample_arguments(
    model: LightningModule, options: Mapping[str, str], where: str
) -> dict[str, Any]:
    """The module's options as values of the types that its signature names.

    Raises:
        UserError: The module has no `sample`, or an option is unknown or of another type.
    """
    if not hasattr(model, "sample"):
        given = type(model).__name__
        raise UserError(
            must("model", "one that can make samples (it has a method `sample`)", given),
            where,
            "paceline list models tells what there is; predict answers for the test set",
        )
    known = inspect.signature(model.sample).parameters  # pyright: ignore[reportArgumentType]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_method_arguments(type(model), "sample", fail_untyped=False)  # type: ignore[arg-type]
    values = {}
    for name, text in options.items():
        key = name.replace("-", "_")
        if key not in known:
            raise unknown("flag", f"--{name}", [f"--{k}" for k in known], "paceline sample")
        try:
            values[key] = parser.parse_args([f"--{key}={text}"])[key]
        except Exception as error:  # jsonargparse wraps several kinds
            kind = known[key].annotation
            kind = kind.__name__ if isinstance(kind, type) else str(kind)
            raise UserError(must(f"--{name}", f"of type {kind}", text)) from error
    return values


def told(samples: Mapping[str, str]) -> str:
    """What a person reads: texts as they are, pictures as paths."""
    if len(samples) == 1:
        return next(iter(samples.values()))
    return "\n\n".join(f"{name}\n{made}" for name, made in samples.items())


def _flag_of(error: Exception, arguments: Mapping[str, Any]) -> str:
    """The flag that an error's first name in backticks is about."""
    name = str(error).partition("`")[2].partition("`")[0]
    return f"--{name}" if name in arguments else "paceline sample"


def _kept(made: Mapping[str, Any], folder: Path, name: str) -> dict[str, str]:
    """Texts as they are; each figure written to a file, whose path stands for it."""
    kept = {}
    for what, sample in made.items():
        if isinstance(sample, str):
            kept[what] = sample
            continue
        path = folder / f"{name}-{what}.png"
        sample.savefig(path, dpi=120)
        kept[what] = str(path)
    return kept
